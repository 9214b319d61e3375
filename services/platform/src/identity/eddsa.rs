//! Ed25519 for the library of tokens, which brings RSA, elliptic curves of NIST and HMAC otherwise. It must never sign
//! or verify with anything else, and computes nothing itself.

use std::sync::OnceLock;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};

/// What the library is given: two makers, and nothing of JSON web keys, which it is never asked for.
static PROVIDER: CryptoProvider = CryptoProvider { signer_factory, verifier_factory, key_utils: KeyUtils::new_unimplemented() };

/// Gives it to the library, for the whole process. Fails if the library has been given another before.
pub fn install() -> anyhow::Result<()> {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    anyhow::ensure!(
        *INSTALLED.get_or_init(|| PROVIDER.install_default().is_ok()),
        "something in this process gave jsonwebtoken another cryptography than Ed25519: it has to ask for that here"
    );
    Ok(())
}

/// A key to sign with, of its 32-byte seed.
pub(crate) fn signs(seed: &[u8; 32]) -> EncodingKey {
    EncodingKey::from_ed_der(seed)
}

/// The public key of a seed.
pub(crate) fn public(seed: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

/// A key to verify with, of its 32 bytes.
pub(crate) fn verifies(public: &[u8; 32]) -> DecodingKey {
    DecodingKey::from_ed_der(public)
}

fn signer_factory(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    only(*algorithm, key.family())?;
    let seed = key.as_bytes().try_into().map_err(|_| ErrorKind::InvalidEddsaKey)?;
    Ok(Box::new(Signs(SigningKey::from_bytes(seed))))
}

fn verifier_factory(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    only(*algorithm, key.family())?;
    let public = key.try_get_as_bytes()?.try_into().map_err(|_| ErrorKind::InvalidEddsaKey)?;
    Ok(Box::new(Verifies(VerifyingKey::from_bytes(public).map_err(|_| ErrorKind::InvalidEddsaKey)?)))
}

/// That both are of Ed25519.
fn only(algorithm: Algorithm, family: AlgorithmFamily) -> Result<()> {
    match (algorithm, family) {
        (Algorithm::EdDSA, AlgorithmFamily::Ed) => Ok(()),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

struct Signs(SigningKey);

impl Signer<Vec<u8>> for Signs {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        self.0.try_sign(message).map(|signature| signature.to_bytes().to_vec()).map_err(|_| Error::new())
    }
}

impl JwtSigner for Signs {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Verifies(VerifyingKey);

impl Verifier<Vec<u8>> for Verifies {
    /// Strictly: one signature has one form, and no weak key has any.
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let signature = Signature::from_slice(signature).map_err(|_| Error::new())?;
        self.0.verify_strict(message, &signature).map_err(|_| Error::new())
    }
}

impl JwtVerifier for Verifies {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// RFC 8032, section 7.1, the first three.
    #[test]
    fn it_signs_as_the_standard_says() {
        for (seed, public_key, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ] {
            let seed: [u8; 32] = hex(seed).try_into().unwrap();
            assert_eq!(public(&seed).to_vec(), hex(public_key));
            let signer = signer_factory(&Algorithm::EdDSA, &signs(&seed)).unwrap();
            assert_eq!(signer.try_sign(&hex(message)).unwrap(), hex(signature));
            let verifier = verifier_factory(&Algorithm::EdDSA, &verifies(&public(&seed))).unwrap();
            assert!(verifier.verify(&hex(message), &hex(signature)).is_ok());
            assert!(verifier.verify(b"another", &hex(signature)).is_err());
        }
    }

    #[test]
    fn nothing_else_is_taken() {
        let (seed, secret) = ([7; 32], EncodingKey::from_secret(&[7; 32]));
        assert!(signer_factory(&Algorithm::HS256, &secret).is_err());
        assert!(signer_factory(&Algorithm::EdDSA, &secret).is_err());
        assert!(signer_factory(&Algorithm::ES256, &signs(&seed)).is_err());
        assert!(signer_factory(&Algorithm::EdDSA, &EncodingKey::from_ed_der(&[7; 31])).is_err());
        assert!(verifier_factory(&Algorithm::HS256, &DecodingKey::from_secret(&[7; 32])).is_err());
        assert!(verifier_factory(&Algorithm::EdDSA, &DecodingKey::from_ed_der(&[7; 33])).is_err());
    }
}
