//! Access tokens: who someone is and by which session, signed, for ten minutes. It must never take anything that it
//! would not have made itself, down to the last bit, nor say to whoever sent it why not.

use std::borrow::Cow;

use anyhow::Context;
use base64ct::{Base64UrlUnpadded, Encoding};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::identity::signing::{Key, LEEWAY_SECONDS, LIFE_SECONDS, SigningKeys};

/// Bytes of a token at most.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// What tokens are of, by RFC 9068.
const TYPE: &str = "at+jwt";
const ALGORITHM: &str = "EdDSA";

/// Who makes tokens, and for whom.
pub struct Issuer {
    issuer: String,
    audience: String,
    validation: Validation,
}

/// What a token says, all of it. An installation whose instances are replaced one by one learns to read a new claim
/// before it writes one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// who made it
    pub iss: String,
    /// whom it is for
    pub aud: String,
    /// the account
    pub sub: String,
    /// the session
    pub sid: String,
    /// when it was made, in seconds since 1970 as all its times
    pub iat: i64,
    /// when it begins to be good
    pub nbf: i64,
    /// when it ends to be good
    pub exp: i64,
    /// its own name
    pub jti: String,
}

/// Why a token is refused: for logs, never for callers. Nothing of the token is in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// longer than any of ours
    #[error("it is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// not three parts between two dots
    #[error("it has not three parts")]
    Parts,
    /// a part that is not the one base64url text of its bytes
    #[error("a part is not canonical base64url without padding")]
    Encoding,
    /// not exactly `typ`, `alg` and `kid`, each a text and there once
    #[error("its header is not exactly typ, alg and kid")]
    Header,
    /// another type
    #[error("it is no access token by its type")]
    Type,
    /// another algorithm
    #[error("its algorithm is not EdDSA")]
    Algorithm,
    /// a key that is none of ours, or was one
    #[error("its key is not known")]
    Key,
    /// made with a key before that one began to sign
    #[error("its key was not signing yet when it was made")]
    KeyTooEarly,
    /// not signed by the key that it names
    #[error("its signature is not of its key")]
    Signature,
    /// not exactly our claims, each of its type and there once
    #[error("its claims are not exactly those of an access token")]
    Claims,
    /// of another issuer
    #[error("it is of another issuer")]
    Issuer,
    /// for another audience
    #[error("it is for another audience")]
    Audience,
    /// not for ten minutes
    #[error("it is not for {LIFE_SECONDS} seconds")]
    Life,
    /// made in the future
    #[error("it was made in the future")]
    Future,
    /// not good yet
    #[error("it is not good yet")]
    NotYet,
    /// not good any more
    #[error("it has expired")]
    Expired,
}

/// The header, member by member. A member twice, or one more, is an error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head<'token> {
    #[serde(borrow)]
    typ: Cow<'token, str>,
    #[serde(borrow)]
    alg: Cow<'token, str>,
    #[serde(borrow)]
    kid: Cow<'token, str>,
}

impl Issuer {
    /// Of this name, making tokens for this audience.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        let (issuer, audience) = (issuer.into(), audience.into());
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["iss", "aud", "sub"]);
        validation.set_issuer(&[&issuer]);
        validation.set_audience(&[&audience]);
        // Its times are looked at here: the library would ask the system's clock.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        Self { issuer, audience, validation }
    }

    /// A token for an account and its session, good from now on.
    pub fn issue(&self, keys: &SigningKeys, subject: &str, session: &str, now: i64) -> anyhow::Result<String> {
        anyhow::ensure!(!subject.is_empty() && !session.is_empty(), "a token is of an account and a session");
        let key = keys.signs(now).context("no key signs yet: look at the clock")?;
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: subject.to_owned(),
            sid: session.to_owned(),
            iat: now,
            nbf: now,
            exp: now.checked_add(LIFE_SECONDS).context("a time beyond all calendars")?,
            jti: Uuid::new_v4().to_string(),
        };
        let header = Header { typ: Some(TYPE.to_owned()), kid: Some(key.kid().to_owned()), ..Header::new(Algorithm::EdDSA) };
        let token = jsonwebtoken::encode(&header, &claims, key.signing()).context("a token could not be signed")?;
        anyhow::ensure!(token.len() <= TOKEN_BYTES_MAX, "a token of {} bytes would be refused: names of account and session are too long", token.len());
        Ok(token)
    }

    /// What a token says, if it is one of ours and good now.
    pub fn verify(&self, keys: &SigningKeys, token: &str, now: i64) -> Result<Claims, Refused> {
        let key = keys.of_name(&kid(token)?).ok_or(Refused::Key)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key.verifying(), &self.validation).map_err(|why| refusal(why.kind()))?.claims;
        self.ours(&claims)?;
        in_time(&claims, key, now)?;
        Ok(claims)
    }

    /// That the claims are as `issue` makes them. The library looked at the same; this does not depend on its ways.
    fn ours(&self, claims: &Claims) -> Result<(), Refused> {
        match claims {
            _ if claims.iss != self.issuer => Err(Refused::Issuer),
            _ if claims.aud != self.audience => Err(Refused::Audience),
            _ if claims.sub.is_empty() || claims.sid.is_empty() || claims.jti.is_empty() => Err(Refused::Claims),
            _ => Ok(()),
        }
    }
}

/// The key that a token names, if all is as it must be before anything is computed with it.
fn kid(token: &str) -> Result<String, Refused> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refused::TooLong);
    }
    let parts: Vec<&str> = token.splitn(4, '.').collect();
    let [header, claims, signature] = parts[..] else { return Err(Refused::Parts) };
    let header = canonical(header)?;
    canonical(claims)?;
    canonical(signature)?;
    let head: Head = serde_json::from_slice(&header).map_err(|_| Refused::Header)?;
    match (&*head.typ, &*head.alg) {
        (TYPE, ALGORITHM) => Ok(head.kid.into_owned()),
        (TYPE, _) => Err(Refused::Algorithm),
        _ => Err(Refused::Type),
    }
}

/// The bytes of a part, if it is the one text that stands for them.
fn canonical(part: &str) -> Result<Vec<u8>, Refused> {
    let bytes = Base64UrlUnpadded::decode_vec(part).map_err(|_| Refused::Encoding)?;
    if Base64UrlUnpadded::encode_string(&bytes) == part { Ok(bytes) } else { Err(Refused::Encoding) }
}

/// That a token is good at this time. Its times are whoever's who has the key, so that no sum of them may overflow.
fn in_time(claims: &Claims, key: &Key, now: i64) -> Result<(), Refused> {
    let latest = now.saturating_add(LEEWAY_SECONDS);
    match claims {
        _ if claims.exp.checked_sub(claims.iat) != Some(LIFE_SECONDS) => Err(Refused::Life),
        _ if key.signs_from() > claims.iat.saturating_add(LEEWAY_SECONDS) => Err(Refused::KeyTooEarly),
        _ if claims.iat > latest => Err(Refused::Future),
        _ if claims.nbf > latest => Err(Refused::NotYet),
        _ if claims.exp <= now.saturating_sub(LEEWAY_SECONDS) => Err(Refused::Expired),
        _ => Ok(()),
    }
}

/// In our words what the library refuses.
fn refusal(why: &ErrorKind) -> Refused {
    match why {
        ErrorKind::Json(_) | ErrorKind::Utf8(_) | ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => Refused::Claims,
        ErrorKind::InvalidIssuer => Refused::Issuer,
        ErrorKind::InvalidAudience => Refused::Audience,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Refused::Algorithm,
        ErrorKind::Base64(_) => Refused::Encoding,
        ErrorKind::InvalidToken => Refused::Parts,
        _ => Refused::Signature,
    }
}

#[cfg(test)]
mod tests;
