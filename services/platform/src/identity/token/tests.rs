//! Hostile tokens, each made of a good one, and what good ones must pass.

use std::path::PathBuf;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::identity::signing::{KEPT_SECONDS, STARTS_AFTER};

const NOW: i64 = 1_800_000_000;

/// An installation, another one, and a good token.
struct World {
    _dirs: [tempfile::TempDir; 2],
    path: PathBuf,
    keys: SigningKeys,
    foreign: SigningKeys,
    issuer: Issuer,
    good: String,
}

fn world() -> World {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let path = dirs[0].path().join("signing.json");
    SigningKeys::open_or_make(&path).unwrap();
    SigningKeys::rotate(&path, NOW, Duration::from_secs(300)).unwrap(); // a key to come
    let keys = SigningKeys::open_or_make(&path).unwrap();
    let foreign = SigningKeys::open_or_make(&dirs[1].path().join("signing.json")).unwrap();
    let issuer = Issuer::new("https://id.example.com", "marketplace");
    let good = issuer.issue(&keys, "account-1", "session-1", NOW).unwrap();
    World { _dirs: dirs, path, keys, foreign, issuer, good }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

impl World {
    fn key(&self) -> &Key {
        self.keys.signs(NOW).unwrap()
    }

    fn parts(&self) -> [String; 3] {
        self.good.split('.').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()
    }

    fn json(&self, part: usize) -> Value {
        serde_json::from_slice(&Base64UrlUnpadded::decode_vec(&self.parts()[part]).unwrap()).unwrap()
    }

    /// Signed with a key of ours: only what it says is wrong.
    fn signed(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        by(self.key(), header, claims)
    }

    fn header(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut header = self.json(0);
        change(&mut header);
        self.signed(header.to_string(), self.json(1).to_string())
    }

    /// Its header changed, and the signature of before.
    fn header_unsigned(&self, change: impl FnOnce(&mut Value)) -> String {
        let (mut header, [_, claims, signature]) = (self.json(0), self.parts());
        change(&mut header);
        format!("{}.{claims}.{signature}", encoded(header.to_string()))
    }

    fn claims(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.json(1);
        change(&mut claims);
        self.signed(self.json(0).to_string(), claims.to_string())
    }

    fn claims_unsigned(&self, change: impl FnOnce(&mut Value)) -> String {
        let (mut claims, [header, _, signature]) = (self.json(1), self.parts());
        change(&mut claims);
        format!("{header}.{}.{signature}", encoded(claims.to_string()))
    }

    fn with_signature(&self, signature: impl AsRef<[u8]>) -> String {
        let [header, claims, _] = self.parts();
        format!("{header}.{claims}.{}", encoded(signature))
    }

    fn signature(&self) -> Vec<u8> {
        Base64UrlUnpadded::decode_vec(&self.parts()[2]).unwrap()
    }

    /// The text of a part of the token, changed before it is encoded and signed.
    fn text(&self, part: usize, change: impl FnOnce(String) -> Vec<u8>) -> String {
        let mut texts = [0, 1].map(|part| Base64UrlUnpadded::decode_vec(&self.parts()[part]).unwrap());
        let before = String::from_utf8(texts[part].clone()).unwrap();
        texts[part] = change(before);
        self.signed(&texts[0], &texts[1])
    }

    /// Signed as HS256 with something that everyone knows.
    fn hmac(&self, secret: &[u8]) -> String {
        let mut header = self.json(0);
        header["alg"] = json!("HS256");
        let message = format!("{}.{}", encoded(header.to_string()), self.parts()[1]);
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(message.as_bytes());
        format!("{message}.{}", encoded(mac.finalize().into_bytes()))
    }

    fn public(&self) -> Vec<u8> {
        self.key().verifying().try_get_as_bytes().unwrap().to_vec()
    }

    fn jwk(&self, of: &SigningKeys) -> Value {
        of.jwks()["keys"][0].clone()
    }

    fn verify(&self, token: &str) -> Result<Claims, Refused> {
        self.issuer.verify(&self.keys, token, NOW)
    }
}

fn by(key: &Key, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key.signing(), Algorithm::EdDSA).unwrap();
    format!("{message}.{signature}")
}

/// The group's order L added to S of a signature: another form of the same, to whoever does not look.
fn plus_order(signature: &[u8], times: u8) -> Vec<u8> {
    let mut order = [0u8; 32];
    order[..16].copy_from_slice(&[0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14]);
    order[31] = 0x10;
    let mut out = signature.to_vec();
    for _ in 0..times {
        let mut carry = 0u16;
        for (at, byte) in out[32..].iter_mut().enumerate() {
            let sum = u16::from(*byte) + u16::from(order[at]) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
    }
    out
}

/// The last character replaced by another that stands for the same bytes, to whoever does not look.
fn trailing_bits(part: &str) -> Option<String> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = ALPHABET.find(part.chars().last()?)?;
    let loose = match part.len() % 4 {
        2 | 3 => last | 1,
        _ => return None,
    };
    Some(format!("{}{}", &part[..part.len() - 1], &ALPHABET[loose..=loose]))
}

type Row = (&'static str, fn(&World) -> String, Refused);

const SHAPES: &[Row] = &[
    ("empty", |_| String::new(), Refused::Parts),
    ("no dot", |w| w.good.replace('.', ""), Refused::Parts),
    ("one dot", |_| ".".into(), Refused::Parts),
    ("two dots alone", |_| "..".into(), Refused::Header),
    ("two parts", |w| w.good.rsplit_once('.').unwrap().0.into(), Refused::Parts),
    ("four parts", |w| format!("{}.", w.good), Refused::Parts),
    ("four parts, the first empty", |w| format!(".{}", w.good), Refused::Parts),
    ("five parts, as of JWE", |w| format!("{}.AAAA.AAAA", w.good), Refused::Parts),
    ("no header", |w| format!(".{}.{}", w.parts()[1], w.parts()[2]), Refused::Header),
    ("no claims", |w| format!("{}..{}", w.parts()[0], w.parts()[2]), Refused::Signature),
    ("empty claims, signed", |w| w.signed(w.json(0).to_string(), ""), Refused::Claims),
    ("huge, one part", |_| "A".repeat(1 << 20), Refused::TooLong),
    ("huge, all dots", |_| ".".repeat(1 << 20), Refused::TooLong),
    ("one byte too long", |w| format!("{}{}", w.good, "A".repeat(TOKEN_BYTES_MAX + 1 - w.good.len())), Refused::TooLong),
    ("huge subject, signed", |w| w.claims(|c| c["sub"] = json!("x".repeat(4096))), Refused::TooLong),
    ("space before", |w| format!(" {}", w.good), Refused::Encoding),
    ("space behind", |w| format!("{} ", w.good), Refused::Encoding),
    ("newline behind", |w| format!("{}\n", w.good), Refused::Encoding),
    ("carriage return and newline inside", |w| w.good.replacen('.', ".\r\n", 1), Refused::Encoding),
    ("tab inside", |w| format!("{}\t{}", &w.good[..10], &w.good[10..]), Refused::Encoding),
    ("zero byte behind", |w| format!("{}\0", w.good), Refused::Encoding),
    ("'Bearer' before", |w| format!("Bearer {}", w.good), Refused::Encoding),
    ("fullwidth dots", |w| w.good.replace('.', "．"), Refused::Parts),
    ("letters beyond ASCII", |w| format!("é{}", w.good), Refused::Encoding),
    ("padded header", |w| w.good.replacen('.', "=.", 1), Refused::Encoding),
    ("padded signature", |w| format!("{}==", w.good), Refused::Encoding),
    ("percent-encoded", |w| w.good.replace('.', "%2E"), Refused::Parts),
    ("quoted", |w| format!("\"{}\"", w.good), Refused::Encoding),
    ("serialised as JSON", |w| json!({"protected": w.parts()[0], "payload": w.parts()[1], "signature": w.parts()[2]}).to_string(), Refused::Parts),
    ("two tokens", |w| format!("{0},{0}", w.good), Refused::Parts),
];

const ALGORITHMS: &[Row] = &[
    ("alg none, no signature", |w| w.header(|h| h["alg"] = json!("none")).rsplit_once('.').unwrap().0.to_owned() + ".", Refused::Algorithm),
    ("alg None, no signature", |w| w.header(|h| h["alg"] = json!("None")).rsplit_once('.').unwrap().0.to_owned() + ".", Refused::Algorithm),
    ("alg NONE, no signature", |w| w.header(|h| h["alg"] = json!("NONE")).rsplit_once('.').unwrap().0.to_owned() + ".", Refused::Algorithm),
    ("alg none, signature kept", |w| w.header_unsigned(|h| h["alg"] = json!("none")), Refused::Algorithm),
    ("alg None, signature kept", |w| w.header_unsigned(|h| h["alg"] = json!("None")), Refused::Algorithm),
    ("alg NONE, signature kept", |w| w.header_unsigned(|h| h["alg"] = json!("NONE")), Refused::Algorithm),
    ("alg none, signed", |w| w.header(|h| h["alg"] = json!("none")), Refused::Algorithm),
    ("HS256 with the public key", |w| w.hmac(&w.public()), Refused::Algorithm),
    ("HS256 with x of the public key", |w| w.hmac(encoded(w.public()).as_bytes()), Refused::Algorithm),
    ("HS256 with the public key as PEM", |w| w.hmac(pem(&w.public()).as_bytes()), Refused::Algorithm),
    ("HS256 with the public key as PEM, without its last newline", |w| w.hmac(pem(&w.public()).trim_end().as_bytes()), Refused::Algorithm),
    ("HS256 with the public key as JWK", |w| w.hmac(w.jwk(&w.keys).to_string().as_bytes()), Refused::Algorithm),
    ("HS256 with all public keys", |w| w.hmac(w.keys.jwks().to_string().as_bytes()), Refused::Algorithm),
    ("HS256 with nothing", |w| w.hmac(b""), Refused::Algorithm),
    ("HS256, signed", |w| w.header(|h| h["alg"] = json!("HS256")), Refused::Algorithm),
    ("RS256, signed", |w| w.header(|h| h["alg"] = json!("RS256")), Refused::Algorithm),
    ("PS256, signed", |w| w.header(|h| h["alg"] = json!("PS256")), Refused::Algorithm),
    ("ES256, signed", |w| w.header(|h| h["alg"] = json!("ES256")), Refused::Algorithm),
    (
        "ES256, the signature of zeros",
        |w| w.header(|h| h["alg"] = json!("ES256")).rsplit_once('.').unwrap().0.to_owned() + "." + &encoded([0; 64]),
        Refused::Algorithm,
    ),
    ("alg Ed25519, of RFC 9864", |w| w.header(|h| h["alg"] = json!("Ed25519")), Refused::Algorithm),
    ("alg in lower case", |w| w.header(|h| h["alg"] = json!("eddsa")), Refused::Algorithm),
    ("alg in upper case", |w| w.header(|h| h["alg"] = json!("EDDSA")), Refused::Algorithm),
    ("alg with a space", |w| w.header(|h| h["alg"] = json!("EdDSA ")), Refused::Algorithm),
    ("alg with a zero byte", |w| w.header(|h| h["alg"] = json!("EdDSA\0")), Refused::Algorithm),
    ("alg empty", |w| w.header(|h| h["alg"] = json!("")), Refused::Algorithm),
    ("alg null", |w| w.header(|h| h["alg"] = Value::Null), Refused::Header),
    ("alg a list", |w| w.header(|h| h["alg"] = json!(["EdDSA"])), Refused::Header),
    ("alg a number", |w| w.header(|h| h["alg"] = json!(0)), Refused::Header),
    ("alg missing", |w| w.header(|h| drop(h.as_object_mut().unwrap().remove("alg"))), Refused::Header),
    ("alg twice, none first", |w| w.text(0, |t| t.replacen('{', r#"{"alg":"none","#, 1).into()), Refused::Header),
    ("alg twice, none last", |w| w.text(0, |t| t.replacen('}', r#","alg":"none"}"#, 1).into()), Refused::Header),
    ("Alg beside alg", |w| w.header(|h| h["Alg"] = json!("none")), Refused::Header),
];

const HEADERS: &[Row] = &[
    ("typ missing", |w| w.header(|h| drop(h.as_object_mut().unwrap().remove("typ"))), Refused::Header),
    ("typ JWT", |w| w.header(|h| h["typ"] = json!("JWT")), Refused::Type),
    ("typ of an identity token", |w| w.header(|h| h["typ"] = json!("id+jwt")), Refused::Type),
    ("typ in full", |w| w.header(|h| h["typ"] = json!("application/at+jwt")), Refused::Type),
    ("typ in upper case", |w| w.header(|h| h["typ"] = json!("AT+JWT")), Refused::Type),
    ("typ null", |w| w.header(|h| h["typ"] = Value::Null), Refused::Header),
    ("typ twice", |w| w.text(0, |t| t.replacen('{', r#"{"typ":"at+jwt","#, 1).into()), Refused::Header),
    ("kid missing", |w| w.header(|h| drop(h.as_object_mut().unwrap().remove("kid"))), Refused::Header),
    ("kid a number", |w| w.header(|h| h["kid"] = json!(1)), Refused::Header),
    ("kid null", |w| w.header(|h| h["kid"] = Value::Null), Refused::Header),
    ("kid a list", |w| w.header(|h| h["kid"] = json!([h["kid"]])), Refused::Header),
    ("kid empty", |w| w.header(|h| h["kid"] = json!("")), Refused::Key),
    ("kid a path", |w| w.header(|h| h["kid"] = json!("../../../../dev/null")), Refused::Key),
    ("kid a file", |w| w.header(|h| h["kid"] = json!("file:///etc/passwd")), Refused::Key),
    ("kid a query", |w| w.header(|h| h["kid"] = json!("' UNION SELECT 'secret'; --")), Refused::Key),
    ("kid a command", |w| w.header(|h| h["kid"] = json!("|/bin/true")), Refused::Key),
    ("kid in upper case", |w| w.header(|h| h["kid"] = json!("K".to_owned() + &h["kid"].as_str().unwrap().to_uppercase())), Refused::Key),
    ("kid with a space", |w| w.header(|h| h["kid"] = json!(format!("{} ", h["kid"].as_str().unwrap()))), Refused::Key),
    ("kid cut", |w| w.header(|h| h["kid"] = json!(h["kid"].as_str().unwrap()[..15])), Refused::Key),
    ("kid with a zero byte behind", |w| w.header(|h| h["kid"] = json!(format!("{}\0x", h["kid"].as_str().unwrap()))), Refused::Key),
    ("kid twice", |w| w.text(0, |t| t.replacen('{', r#"{"kid":"x","#, 1).into()), Refused::Header),
    ("kid of the key to come", |w| w.header(|h| h["kid"] = json!(w.keys.signs(i64::MAX).unwrap().kid())), Refused::Signature),
    ("jwk of ours", |w| w.header(|h| h["jwk"] = w.jwk(&w.keys)), Refused::Header),
    ("jwk of a foreign key, signed by it", |w| foreign(w, |h| h["jwk"] = w.jwk(&w.foreign)), Refused::Header),
    ("jku", |w| foreign(w, |h| h["jku"] = json!("https://evil.example.com/jwks.json")), Refused::Header),
    ("x5u", |w| foreign(w, |h| h["x5u"] = json!("https://evil.example.com/cert.pem")), Refused::Header),
    ("x5c", |w| foreign(w, |h| h["x5c"] = json!(["MIIB"])), Refused::Header),
    ("x5t", |w| w.header(|h| h["x5t"] = json!("AAAA")), Refused::Header),
    ("crit, unknown", |w| w.header(|h| h["crit"] = json!(["exp"])), Refused::Header),
    ("crit, empty", |w| w.header(|h| h["crit"] = json!([])), Refused::Header),
    ("crit and b64", |w| w.header(|h| (h["crit"], h["b64"]) = (json!(["b64"]), json!(false))), Refused::Header),
    ("b64", |w| w.header(|h| h["b64"] = json!(true)), Refused::Header),
    ("zip", |w| w.header(|h| h["zip"] = json!("DEF")), Refused::Header),
    ("cty", |w| w.header(|h| h["cty"] = json!("JWT")), Refused::Header),
    ("enc", |w| w.header(|h| h["enc"] = json!("A256GCM")), Refused::Header),
    ("claims in the header", |w| w.header(|h| h["iss"] = json!("https://id.example.com")), Refused::Header),
    ("an unknown member", |w| w.header(|h| h["more"] = json!(1)), Refused::Header),
    ("__proto__", |w| w.header(|h| h["__proto__"] = json!({"alg": "none"})), Refused::Header),
    ("header a list", |w| w.signed(r#"["at+jwt","EdDSA","x"]"#, w.json(1).to_string()), Refused::Key),
    ("header a text", |w| w.signed("\"x\"", w.json(1).to_string()), Refused::Header),
    ("header null", |w| w.signed("null", w.json(1).to_string()), Refused::Header),
    ("header empty", |w| w.signed("{}", w.json(1).to_string()), Refused::Header),
    ("header with something behind", |w| w.text(0, |t| format!("{t}{{}}").into()), Refused::Header),
    ("header with a byte order mark", |w| w.text(0, |t| format!("\u{feff}{t}").into()), Refused::Header),
    ("header not UTF-8", |w| w.text(0, |t| [&t.as_bytes()[..9], b"\xff", &t.as_bytes()[9..]].concat()), Refused::Header),
    ("header in UTF-16", |w| w.text(0, |t| t.encode_utf16().flat_map(u16::to_le_bytes).collect()), Refused::Header),
    ("header with a comment", |w| w.text(0, |t| format!("{t}/**/").into()), Refused::Header),
    ("header nested deep", |w| w.text(0, |_| "[".repeat(2000).into()), Refused::Header),
    ("header of another token", |w| format!("{}.{}.{}", later(w).split('.').next().unwrap(), w.parts()[1], w.parts()[2]), Refused::Signature),
];

const CLAIMS: &[Row] = &[
    ("another audience", |w| w.claims(|c| c["aud"] = json!("bank")), Refused::Audience),
    ("another audience, by its issuer", |w| Issuer::new("https://id.example.com", "bank").issue(&w.keys, "a", "s", NOW).unwrap(), Refused::Audience),
    ("a list of audiences", |w| w.claims(|c| c["aud"] = json!(["marketplace", "bank"])), Refused::Claims),
    ("a list of our audience", |w| w.claims(|c| c["aud"] = json!(["marketplace"])), Refused::Claims),
    ("audience with a slash", |w| w.claims(|c| c["aud"] = json!("marketplace/")), Refused::Audience),
    ("audience empty", |w| w.claims(|c| c["aud"] = json!("")), Refused::Audience),
    ("audience null", |w| w.claims(|c| c["aud"] = Value::Null), Refused::Claims),
    ("another issuer", |w| w.claims(|c| c["iss"] = json!("https://evil.example.com")), Refused::Issuer),
    ("issuer with a slash", |w| w.claims(|c| c["iss"] = json!("https://id.example.com/")), Refused::Issuer),
    ("issuer in upper case", |w| w.claims(|c| c["iss"] = json!("HTTPS://ID.EXAMPLE.COM")), Refused::Issuer),
    ("a list of issuers", |w| w.claims(|c| c["iss"] = json!(["https://id.example.com"])), Refused::Claims),
    ("iss missing", |w| without(w, "iss"), Refused::Claims),
    ("aud missing", |w| without(w, "aud"), Refused::Claims),
    ("sub missing", |w| without(w, "sub"), Refused::Claims),
    ("sid missing", |w| without(w, "sid"), Refused::Claims),
    ("iat missing", |w| without(w, "iat"), Refused::Claims),
    ("nbf missing", |w| without(w, "nbf"), Refused::Claims),
    ("exp missing", |w| without(w, "exp"), Refused::Claims),
    ("jti missing", |w| without(w, "jti"), Refused::Claims),
    ("sub empty", |w| w.claims(|c| c["sub"] = json!("")), Refused::Claims),
    ("sid empty", |w| w.claims(|c| c["sid"] = json!("")), Refused::Claims),
    ("jti empty", |w| w.claims(|c| c["jti"] = json!("")), Refused::Claims),
    ("sub a number", |w| w.claims(|c| c["sub"] = json!(1)), Refused::Claims),
    ("sid null", |w| w.claims(|c| c["sid"] = Value::Null), Refused::Claims),
    ("jti an object", |w| w.claims(|c| c["jti"] = json!({})), Refused::Claims),
    ("expired", |w| at(w, NOW - 605), Refused::Expired),
    ("expired long ago", |w| at(w, 0), Refused::Expired),
    ("made before 1970, and the first key", |w| at(w, -1000), Refused::KeyTooEarly),
    ("made in the future", |w| at(w, NOW + 6), Refused::Future),
    ("not good yet", |w| w.claims(|c| c["nbf"] = json!(NOW + 6)), Refused::NotYet),
    ("not good for ever", |w| w.claims(|c| c["nbf"] = json!(i64::MAX)), Refused::NotYet),
    ("exp a second later", |w| w.claims(|c| c["exp"] = json!(NOW + 601)), Refused::Life),
    ("exp a second sooner", |w| w.claims(|c| c["exp"] = json!(NOW + 599)), Refused::Life),
    ("exp far in the future", |w| w.claims(|c| c["exp"] = json!(NOW + 10 * 365 * 86400)), Refused::Life),
    ("exp the last second of all", |w| w.claims(|c| c["exp"] = json!(i64::MAX)), Refused::Life),
    ("exp beyond all numbers", |w| w.claims(|c| c["exp"] = json!(u64::MAX)), Refused::Claims),
    ("exp of a hundred digits", |w| w.text(1, |t| t.replacen(&exp(), &"9".repeat(100), 1).into()), Refused::Claims),
    ("exp 1e999", |w| w.text(1, |t| t.replacen(&exp(), "1e999", 1).into()), Refused::Claims),
    ("exp NaN", |w| w.text(1, |t| t.replacen(&exp(), "NaN", 1).into()), Refused::Claims),
    ("exp a text", |w| w.claims(|c| c["exp"] = json!(exp())), Refused::Claims),
    ("exp a float", |w| w.text(1, |t| t.replacen(&exp(), &format!("{}.0", exp()), 1).into()), Refused::Claims),
    ("exp with an exponent", |w| w.text(1, |t| t.replacen(&exp(), &format!("{}e0", exp()), 1).into()), Refused::Claims),
    ("exp negative", |w| w.claims(|c| c["exp"] = json!(-1)), Refused::Life),
    ("exp null", |w| w.claims(|c| c["exp"] = Value::Null), Refused::Claims),
    ("exp true", |w| w.claims(|c| c["exp"] = json!(true)), Refused::Claims),
    ("exp a list", |w| w.claims(|c| c["exp"] = json!([NOW + 600])), Refused::Claims),
    ("iat and exp at the ends of all numbers", |w| w.claims(|c| (c["iat"], c["exp"]) = (json!(i64::MIN), json!(i64::MAX))), Refused::Life),
    ("iat the last second of all", |w| w.claims(|c| c["iat"] = json!(i64::MAX)), Refused::Life),
    ("iat the first second of all", |w| w.claims(|c| (c["iat"], c["exp"]) = (json!(i64::MIN), json!(i64::MIN + 600))), Refused::KeyTooEarly),
    ("iat a float", |w| w.claims(|c| c["iat"] = json!(1.8e9)), Refused::Claims),
    ("iat in milliseconds", |w| at(w, NOW * 1000), Refused::Future),
    ("exp twice", |w| w.text(1, |t| t.replacen('{', r#"{"exp":9999999999,"#, 1).into()), Refused::Claims),
    ("sub twice, ours first", |w| w.text(1, |t| t.replacen('}', r#","sub":"account-2"}"#, 1).into()), Refused::Claims),
    ("sub twice, one escaped", |w| w.text(1, |t| t.replacen('{', r#"{"su\u0062":"account-2","#, 1).into()), Refused::Claims),
    ("an unknown claim twice", |w| w.text(1, |t| t.replacen('{', r#"{"x":1,"x":2,"#, 1).into()), Refused::Claims),
    ("an unknown claim", |w| w.claims(|c| c["admin"] = json!(true)), Refused::Claims),
    ("claims inside a claim", |w| w.claims(|c| *c = json!({"claims": c.clone()})), Refused::Claims),
    ("sub nested", |w| w.claims(|c| c["sub"] = json!({"sub": "account-1"})), Refused::Claims),
    ("claims a list", |w| w.signed(w.json(0).to_string(), json!([w.json(1)]).to_string()), Refused::Claims),
    ("claims null", |w| w.signed(w.json(0).to_string(), "null"), Refused::Claims),
    ("claims another token", |w| w.signed(w.json(0).to_string(), &w.good), Refused::Claims),
    ("claims with a byte order mark", |w| w.text(1, |t| format!("\u{feff}{t}").into()), Refused::Claims),
    ("claims not UTF-8", |w| w.text(1, |t| [&t.as_bytes()[..12], b"\xff\xfe", &t.as_bytes()[12..]].concat()), Refused::Claims),
    ("half a surrogate", |w| w.text(1, |t| t.replacen("account-1", r"\ud800", 1).into()), Refused::Claims),
    ("claims with something behind", |w| w.text(1, |t| format!("{t}null").into()), Refused::Claims),
    ("claims with a comma too many", |w| w.text(1, |t| t.replacen('}', ",}", 1).into()), Refused::Claims),
    ("claims nested deep", |w| w.text(1, |_| format!("{{\"sub\":{}", "[".repeat(2000)).into()), Refused::Claims),
];

const SIGNATURES: &[Row] = &[
    ("a foreign key of its own name", |w| w.issuer.issue(&w.foreign, "account-1", "session-1", NOW).unwrap(), Refused::Key),
    ("a foreign key under our name", |w| foreign(w, |_| ()), Refused::Signature),
    ("subject swapped", |w| w.claims_unsigned(|c| c["sub"] = json!("account-2")), Refused::Signature),
    ("session swapped", |w| w.claims_unsigned(|c| c["sid"] = json!("session-2")), Refused::Signature),
    ("life prolonged", |w| w.claims_unsigned(|c| (c["iat"], c["exp"]) = (json!(NOW + 1), json!(NOW + 601))), Refused::Signature),
    ("spaces put into the claims", |w| format!("{}.{}.{}", w.parts()[0], encoded(format!(" {}", w.json(1))), w.parts()[2]), Refused::Signature),
    ("signature of another token", |w| format!("{}.{}.{}", w.parts()[0], w.parts()[1], other(w).rsplit_once('.').unwrap().1), Refused::Signature),
    ("no signature", |w| w.with_signature(""), Refused::Signature),
    ("signature cut by a byte", |w| w.with_signature(&w.signature()[..63]), Refused::Signature),
    ("signature cut in half", |w| w.with_signature(&w.signature()[..32]), Refused::Signature),
    ("a byte more", |w| w.with_signature([&w.signature()[..], b"\0"].concat()), Refused::Signature),
    ("a signature twice", |w| w.with_signature(w.signature().repeat(2)), Refused::Signature),
    ("signature of zeros", |w| w.with_signature([0; 64]), Refused::Signature),
    ("signature of ones", |w| w.with_signature([0xff; 64]), Refused::Signature),
    ("R of the neutral point, S of zero", |w| w.with_signature([&[1][..], &[0; 63]].concat()), Refused::Signature),
    ("R and S swapped", |w| w.with_signature([&w.signature()[32..], &w.signature()[..32]].concat()), Refused::Signature),
    ("S and the order", |w| w.with_signature(plus_order(&w.signature(), 1)), Refused::Signature),
    ("S and twice the order", |w| w.with_signature(plus_order(&w.signature(), 2)), Refused::Signature),
    ("S and eight times the order", |w| w.with_signature(plus_order(&w.signature(), 8)), Refused::Signature),
    ("highest bit of S", |w| w.with_signature([&w.signature()[..63], &[w.signature()[63] | 0x80]].concat()), Refused::Signature),
    ("sign of R", |w| w.with_signature([&w.signature()[..31], &[w.signature()[31] ^ 0x80], &w.signature()[32..]].concat()), Refused::Signature),
    ("trailing bits of the signature", |w| format!("{}.{}.{}", w.parts()[0], w.parts()[1], trailing_bits(&w.parts()[2]).unwrap()), Refused::Encoding),
    ("standard alphabet", |w| standard(w, '-', '+'), Refused::Encoding),
    ("standard alphabet, the other sign", |w| standard(w, '_', '/'), Refused::Encoding),
    ("signature in hexadecimal", |w| w.with_signature(w.signature().iter().map(|byte| format!("{byte:02x}")).collect::<String>()), Refused::Signature),
    ("of a key not signing yet", |w| by(w.keys.signs(i64::MAX).unwrap(), of_key_to_come(w).to_string(), w.json(1).to_string()), Refused::KeyTooEarly),
];

fn pem(public: &[u8]) -> String {
    let der = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], public].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", base64ct::Base64::encode_string(&der))
}

/// Signed by a foreign key under our key's name.
fn foreign(world: &World, change: impl FnOnce(&mut Value)) -> String {
    let mut header = world.json(0);
    change(&mut header);
    by(world.foreign.signs(NOW).unwrap(), header.to_string(), world.json(1).to_string())
}

fn without(world: &World, claim: &str) -> String {
    world.claims(|claims| drop(claims.as_object_mut().unwrap().remove(claim)))
}

fn at(world: &World, made: i64) -> String {
    world.claims(|claims| (claims["iat"], claims["nbf"], claims["exp"]) = (json!(made), json!(made), json!(made + LIFE_SECONDS)))
}

fn exp() -> String {
    (NOW + LIFE_SECONDS).to_string()
}

fn other(world: &World) -> String {
    world.issuer.issue(&world.keys, "account-2", "session-2", NOW).unwrap()
}

/// Made with the key to come.
fn later(world: &World) -> String {
    world.issuer.issue(&world.keys, "account-1", "session-1", NOW + 300).unwrap()
}

fn of_key_to_come(world: &World) -> Value {
    json!({"typ": "at+jwt", "alg": "EdDSA", "kid": world.keys.signs(i64::MAX).unwrap().kid()})
}

/// A good token that has the one character, with the other in its place.
fn standard(world: &World, ours: char, standard: char) -> String {
    let with = (0..200).map(|_| other(world)).find(|token| token.contains(ours)).unwrap();
    with.replace(ours, &standard.to_string())
}

#[test]
fn hostile_tokens_are_refused_each_for_its_reason() {
    let world = world();
    let mut rows = 0;
    for (name, make, why) in [SHAPES, ALGORITHMS, HEADERS, CLAIMS, SIGNATURES].concat() {
        let token = make(&world);
        assert_ne!(token, world.good, "{name}");
        assert_eq!(world.verify(&token).map(|claims| claims.sub), Err(why), "{name}: {token:.300}");
        rows += 1;
    }
    assert!(rows >= 150, "{rows}");
    assert!(world.verify(&world.good).is_ok());
}

/// The rows above are refused for what they change: unchanged, the same makers make good tokens.
#[test]
fn the_makers_of_hostile_tokens_make_good_ones() {
    let world = world();
    let key = world.key();
    for token in [
        world.header(|_| ()),
        world.claims(|_| ()),
        world.text(0, Into::into),
        world.text(1, Into::into),
        world.with_signature(world.signature()),
        world.with_signature(plus_order(&world.signature(), 0)),
        at(&world, NOW),
        by(key, world.json(0).to_string(), world.json(1).to_string()),
    ] {
        assert_eq!(world.verify(&token), world.verify(&world.good), "{token}");
    }
}

#[test]
fn a_token_with_one_character_changed_is_refused() {
    let world = world();
    for at in 0..world.good.len() {
        for other in "A9_-.= \n".chars().filter(|other| !world.good[at..].starts_with(*other)) {
            let mut token: String = world.good[..at].into();
            token.push(other);
            token.push_str(&world.good[at + 1..]);
            assert!(world.verify(&token).is_err(), "{token}");
        }
        assert!(world.verify(&world.good[..at]).is_err());
        assert!(world.verify(&world.good[at + 1..]).is_err());
    }
}

#[test]
fn a_token_with_one_bit_of_its_signature_changed_is_refused() {
    let world = world();
    for bit in 0..512 {
        let mut signature = world.signature();
        signature[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(world.verify(&world.with_signature(signature)), Err(Refused::Signature), "bit {bit}");
    }
}

#[test]
fn trailing_bits_are_refused_in_every_part() {
    let world = world();
    let mut seen = 0;
    for token in (0..20).map(|length| world.issuer.issue(&world.keys, &"a".repeat(length + 1), "s", NOW).unwrap()) {
        let parts: Vec<&str> = token.split('.').collect();
        for at in 0..3 {
            let Some(loose) = trailing_bits(parts[at]).filter(|loose| loose != parts[at]) else { continue };
            let mut parts = parts.clone();
            parts[at] = &loose;
            assert_eq!(world.verify(&parts.join(".")), Err(Refused::Encoding));
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn a_good_token_says_what_it_was_made_of() {
    let world = world();
    let claims = world.verify(&world.good).unwrap();
    assert_eq!((claims.sub.as_str(), claims.sid.as_str()), ("account-1", "session-1"));
    assert_eq!((claims.iss.as_str(), claims.aud.as_str()), ("https://id.example.com", "marketplace"));
    assert_eq!((claims.iat, claims.nbf, claims.exp), (NOW, NOW, NOW + 600));
    assert_ne!(claims.jti, world.verify(&world.header(|_| ())).map(|_| String::new()).unwrap());
    assert_ne!(world.verify(&other(&world)).unwrap().jti, claims.jti);
    assert_eq!(world.json(0), json!({"typ": "at+jwt", "alg": "EdDSA", "kid": world.key().kid()}));
    assert_eq!(world.json(0).as_object().unwrap().len(), 3);
    assert_eq!(world.json(1).as_object().unwrap().len(), 8);
}

/// Their order and the space between members are nobody's business.
#[test]
fn a_header_in_another_order_is_the_same() {
    let world = world();
    let kid = world.key().kid();
    let token = world.signed(format!("{{ \"kid\" : \"{kid}\", \"alg\":\"EdDS\\u0041\",\n\"typ\":\"at+jwt\" }}"), world.json(1).to_string());
    assert!(world.verify(&token).is_ok());
}

#[test]
fn a_token_is_good_for_its_time_and_the_leeway() {
    let world = world();
    for (now, then) in [
        (NOW - 6, Err(Refused::Future)),
        (NOW - 5, Ok(())),
        (NOW, Ok(())),
        (NOW + 599, Ok(())),
        (NOW + 600, Ok(())),
        (NOW + 604, Ok(())),
        (NOW + 605, Err(Refused::Expired)),
        (i64::MAX, Err(Refused::Expired)),
        (i64::MIN, Err(Refused::Future)),
    ] {
        assert_eq!(world.issuer.verify(&world.keys, &world.good, now).map(|_| ()), then, "at {now}");
    }
}

#[test]
fn what_cannot_be_verified_is_not_issued() {
    let world = world();
    assert!(world.issuer.issue(&world.keys, "", "s", NOW).is_err());
    assert!(world.issuer.issue(&world.keys, "a", "", NOW).is_err());
    assert!(world.issuer.issue(&world.keys, "a", "s", -1).is_err(), "before the first key");
    assert!(world.issuer.issue(&world.keys, "a", "s", i64::MAX).is_err());
    assert!(world.issuer.issue(&world.keys, &"a".repeat(4000), "s", NOW).is_err());
    let odd = "\"\\\u{0}\n😀é\u{202e}</script>";
    let token = world.issuer.issue(&world.keys, odd, odd, NOW).unwrap();
    assert_eq!(world.verify(&token).unwrap().sub, odd);
}

/// The time of a key's first token, by clocks that differ by no more than the leeway.
#[test]
fn a_key_is_taken_from_when_it_signs() {
    let world = world();
    let begins = NOW + 300;
    let token = |made: i64| {
        let claims = world.json(1);
        let claims = json!({"iss": claims["iss"], "aud": claims["aud"], "sub": "a", "sid": "s", "jti": "j", "iat": made, "nbf": made, "exp": made + 600});
        by(world.keys.signs(i64::MAX).unwrap(), of_key_to_come(&world).to_string(), claims.to_string())
    };
    for (made, then) in [(begins - 6, Err(Refused::KeyTooEarly)), (begins - 5, Ok(())), (begins, Ok(()))] {
        assert_eq!(world.issuer.verify(&world.keys, &token(made), made).map(|_| ()), then, "made at {made}");
    }
}

/// Two rotations, every second: what one instance makes, one that has read the file a little earlier or later takes, and
/// does for as long as the token is good.
#[test]
fn tokens_pass_across_rotations_at_every_second() {
    let world = world();
    let start = NOW + 1000;
    let (after, then) = (STARTS_AFTER.as_secs() as i64, KEPT_SECONDS);
    let mut sets: Vec<(i64, SigningKeys)> = vec![(start, SigningKeys::open_or_make(&world.path).unwrap())];
    for at in [start + 20, start + 20 + after + 100, start + 20 + 2 * after + 2 * then] {
        SigningKeys::rotate(&world.path, at, STARTS_AFTER).unwrap();
        sets.push((at, SigningKeys::open_or_make(&world.path).unwrap()));
    }
    assert!(sets[3].1.of_name(sets[0].1.signs(start).unwrap().kid()).is_none(), "the first is dropped at last");
    let as_read = |now: i64, late: i64| &sets.iter().rev().find(|(at, _)| *at + late <= now).unwrap_or(&sets[0]).1;
    let mut makers = std::collections::BTreeSet::new();
    for made in start..start + 20 + 4 * after + 2 * then {
        for late in [0, 30, after - 5] {
            let token = world.issuer.issue(as_read(made, late), "a", "s", made).unwrap();
            makers
                .insert(serde_json::from_slice::<Value>(&Base64UrlUnpadded::decode_vec(token.split('.').next().unwrap()).unwrap()).unwrap()["kid"].to_string());
            for (now, read_late) in [(made - 5, 0), (made - 5, 20), (made, 0), (made, 50), (made + 300, 0), (made + 604, 0), (made + 604, 50)] {
                let verified = world.issuer.verify(as_read(now, read_late), &token, now);
                assert!(verified.is_ok(), "made at +{} read {late} s late, verified at +{}: {verified:?}", made - start, now - start);
            }
        }
    }
    assert_eq!(makers.len(), 4);
}

#[test]
fn a_token_of_a_key_that_was_dropped_is_refused() {
    let world = world();
    let at = NOW + 300 + KEPT_SECONDS + 1;
    let dropped = SigningKeys::rotate(&world.path, at, STARTS_AFTER).unwrap().dropped;
    assert_eq!(dropped, [world.key().kid()]);
    let keys = SigningKeys::open_or_make(&world.path).unwrap();
    let fresh = world.issuer.issue(&world.keys, "a", "s", NOW).unwrap();
    assert_eq!(world.issuer.verify(&keys, &fresh, NOW), Err(Refused::Key));
}

#[test]
fn reasons_say_nothing_of_the_token() {
    let world = world();
    for part in world.parts() {
        let why = world.verify(&format!("{}.{part}", world.good)).unwrap_err();
        assert!(!format!("{why} {why:?}").contains(&part));
    }
}
