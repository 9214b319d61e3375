//! What tells commands made inside from those of clients: a signature that needs the log's secret. Headers alone say
//! nothing, since any producer can set them.

use schemas::Headers;

/// The signature of a command made inside, in hex.
pub const INSIDE: &str = "daybook-inside";
/// A command written once more by an operator, signed as well: what it was the first time.
pub const AGAIN: &str = "daybook-again";
/// [`AGAIN`]: it was made inside.
pub const AGAIN_INSIDE: &str = "inside";
/// [`AGAIN`]: it was a client's.
pub const AGAIN_CLIENT: &str = "client";

/// Over all that the record says, so that no part of it can be had for another command.
fn signature(secret: &[u8; 32], key: &[u8], headers: &Headers, body: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes()).update(bytes);
    };
    part(key);
    part(body);
    for (name, value) in headers.iter().filter(|(name, _)| *name != INSIDE) {
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
}
