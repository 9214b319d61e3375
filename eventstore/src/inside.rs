//! What tells commands made inside from those of clients, and an actor that is vouched for from one that is made up:
//! signatures that need the log's secret. Headers alone say nothing, since any producer can set them.

use schemas::Headers;

/// The signature of a command made inside, in hex.
pub const INSIDE: &str = "daybook-inside";
/// A command written once more by an operator, signed as well: what it was the first time.
pub const AGAIN: &str = "daybook-again";
/// [`AGAIN`]: it was made inside.
pub const AGAIN_INSIDE: &str = "inside";
/// [`AGAIN`]: it was a client's.
pub const AGAIN_CLIENT: &str = "client";

/// The signature of whoever knows that a client's command is its actor's, in hex.
pub const VOUCHED: &str = "daybook-vouched";

/// Over all that the record says, so that no part of it can be had for another command.
fn signature(secret: &[u8; 32], key: &[u8], headers: &Headers, body: &[u8]) -> blake3::Hash {
    over(secret, key, headers.iter().filter(|(name, _)| *name != INSIDE), body)
}

fn over<'h>(secret: &[u8; 32], key: &[u8], headers: impl Iterator<Item = (&'h str, &'h [u8])>, body: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes()).update(bytes);
    };
    part(key);
    part(body);
    for (name, value) in headers {
        part(name.as_bytes());
        part(value);
    }
    hasher.finalize()
}

/// Signs a command that is complete.
pub fn sign(secret: &[u8; 32], key: &[u8], headers: &mut Headers, body: &[u8]) {
    let signature = signature(secret, key, headers, body);
    headers.push(INSIDE, signature.to_hex().as_bytes());
}

/// Whether it was made inside.
pub fn is_signed(secret: &[u8; 32], key: &[u8], headers: &Headers, body: &[u8]) -> bool {
    // A `Hash` is compared in constant time.
    headers.get(INSIDE).and_then(|text| blake3::Hash::from_hex(text).ok()).is_some_and(|given| given == signature(secret, key, headers, body))
}

/// Says of a client's command that is complete, that its actor is who it says.
pub fn vouch(secret: &[u8; 32], key: &[u8], headers: &mut Headers, body: &[u8]) {
    let vouched = over(&vouching(secret), key, headers.iter(), body);
    headers.push(VOUCHED, vouched.to_hex().as_bytes());
}

/// Whether somebody who may says so of its actor.
pub fn is_vouched(secret: &[u8; 32], key: &[u8], headers: &Headers, body: &[u8]) -> bool {
    let Some(given) = headers.get(VOUCHED).and_then(|text| blake3::Hash::from_hex(text).ok()) else { return false };
    given == over(&vouching(secret), key, headers.iter().filter(|(name, _)| *name != VOUCHED), body)
}

/// Another key than the one that signs, so that neither signature can be had for the other.
fn vouching(secret: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("daybook 2026-11-26 vouched actors", secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_record_alone() {
        let headers = || Headers::from_iter([("ce_id", "a"), ("ce_causationid", "b")]);
        let mut signed = headers();
        sign(&[1; 32], b"17", &mut signed, b"{}");
        assert!(is_signed(&[1; 32], b"17", &signed, b"{}"));
        let mut more = signed.clone();
        more.push("ce_actor", "me");
        let moved = Headers::from_iter([("ce_id", "ab"), ("ce_causationid", ""), (INSIDE, signed.text(INSIDE).unwrap_or_default())]);
        for (secret, key, headers, body) in [
            ([2; 32], "17", &signed, "{}"),
            ([1; 32], "18", &signed, "{}"),
            ([1; 32], "17", &signed, "{} "),
            ([1; 32], "17", &more, "{}"),
            ([1; 32], "17", &moved, "{}"),
            ([1; 32], "17", &headers(), "{}"),
        ] {
            assert!(!is_signed(&secret, key.as_bytes(), headers, body.as_bytes()), "{key} {body} {headers:?}");
        }
    }

    #[test]
    fn an_actor_is_vouched_for_by_who_has_the_secret() {
        let mut headers = Headers::from_iter([("ce_id", "a"), ("ce_actor", "account/5f3a operator")]);
        assert!(!is_vouched(&[1; 32], b"17", &headers, b"{}"));
        let mut inside = headers.clone();
        sign(&[1; 32], b"17", &mut inside, b"{}");
        let moved = Headers::from_iter(inside.iter().map(|(name, value)| (if name == INSIDE { VOUCHED } else { name }.to_owned(), value.to_vec())));
        assert!(!is_vouched(&[1; 32], b"17", &moved, b"{}"));
        vouch(&[1; 32], b"17", &mut headers, b"{}");
        assert!(is_vouched(&[1; 32], b"17", &headers, b"{}"));
        assert!(!is_vouched(&[2; 32], b"17", &headers, b"{}") && !is_vouched(&[1; 32], b"18", &headers, b"{}"));
        headers.push("ce_actor", "account/5f3a customer=17");
        assert!(!is_vouched(&[1; 32], b"17", &headers, b"{}"));
    }
}
