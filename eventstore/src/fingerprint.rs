//! What makes two commands of one id the same: several fingerprints, any of which is enough. One alone would not be: a
//! repeat that crosses an upgrade has other bytes and means the same.

use schemas::Envelope;
use schemas::envelope::Kind;
use serde::{Deserialize, Serialize};

/// The header in which whoever writes a command for a client says what it was asked, whatever shape that has on the wire.
pub const REQUEST: &str = "daybook-request";
/// Stands among fingerprints in `ce_fingerprints` where the answer is remembered for ever.
const FOR_EVER: &str = "kept";

/// The fingerprints of a client's command. Each is 128 bits of BLAKE3, in hex.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fingerprints {
    /// `ce_bodyhash`: of type with its schema version, subject, expected version, and the body's bytes.
    pub sent: String,
    /// Of name, subject, expected version, and the body as the newest shape has it; none of a command that was decided
    /// before there was this one.
    pub meaning: Option<String>,
    /// Of the request that the command was made of.
    pub request: Option<String>,
    /// The answer is remembered for ever: the command was written once more by an operator, who may do so at any time.
    pub kept: bool,
}

impl Fingerprints {
    /// Of a command whose body is `newest` in the newest shape, which is of `kind`.
    pub fn of(envelope: &Envelope, body: &[u8], kind: &Kind, newest: &[u8], request: Option<&str>) -> Self {
        let request = request.filter(|text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        Self {
            sent: sent(envelope, body),
            meaning: Some(hash(envelope, &format!("{}.{}", kind.aggregate, kind.name), newest)),
            request: request.map(str::to_owned),
            kept: false,
        }
    }

    /// Of the command behind an event.
    pub fn behind(event: &Envelope) -> Option<Self> {
        Self::read(event.body_hash.as_deref(), event.fingerprints.as_deref())
    }

    /// From what `ce_bodyhash` and `ce_fingerprints` say. What a newer version adds is passed over.
    pub fn read(sent: Option<&str>, more: Option<&str>) -> Option<Self> {
        let mut prints = Self { sent: sent?.to_owned(), meaning: None, request: None, kept: false };
        for part in more.into_iter().flat_map(|text| text.split('.')) {
            match part.split_once('-') {
                Some(("m", print)) => prints.meaning = Some(print.to_owned()),
                Some(("r", print)) => prints.request = Some(print.to_owned()),
                _ => prints.kept |= part == FOR_EVER,
            }
        }
        Some(prints)
    }

    /// As `ce_fingerprints` says them, beside `ce_bodyhash`.
    pub fn header(&self) -> Option<String> {
        let meaning = self.meaning.iter().map(|print| format!("m-{print}"));
        let parts: Vec<String> = meaning.chain(self.request.iter().map(|print| format!("r-{print}"))).chain(self.kept.then(|| FOR_EVER.to_owned())).collect();
        (!parts.is_empty()).then(|| parts.join("."))
    }

    /// Whether both are of the same command.
    pub fn same(&self, other: &Self) -> bool {
        let both = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
        self.sent == other.sent || both(&self.meaning, &other.meaning) || both(&self.request, &other.request)
    }
}

/// The fingerprint of a command as it was sent.
pub fn sent(envelope: &Envelope, body: &[u8]) -> String {
    hash(envelope, &envelope.kind.to_string(), body)
}

fn hash(envelope: &Envelope, kind: &str, body: &[u8]) -> String {
    of(&[kind.as_bytes(), envelope.subject.as_bytes(), &envelope.expected_version.unwrap_or(u64::MAX).to_be_bytes(), body])
}

/// The fingerprint of some parts, which cannot run into one another.
pub fn of(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}
