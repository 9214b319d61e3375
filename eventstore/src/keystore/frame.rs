//! What is in the file: frames of one size, each with a checksum. Never changes what a byte means: another meaning is another
//! first frame.

use super::ids::{KeyId, StoreId};
use super::wrap::{Subject, WRAPPED_BYTES};

/// Bytes of a frame. A sector holds a whole number of them, so that none is ever written by half.
pub const FRAME_BYTES: usize = 128;
const CHECKSUM_BYTES: usize = 16;
const BODY_BYTES: usize = FRAME_BYTES - CHECKSUM_BYTES;
const MAGIC: &[u8; 16] = b"daybook keys v1\n";
const _: () = assert!(512 % FRAME_BYTES == 0);
const _: () = assert!(1 + 16 + 32 + 16 + 16 <= BODY_BYTES);
const _: () = assert!(1 + 16 + 20 + WRAPPED_BYTES <= BODY_BYTES);

/// The bytes of one.
pub type Bytes = [u8; FRAME_BYTES];

/// What the first frame says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// what the key-encryption key is known by
    pub check: [u8; 32],
    /// which store it is
    pub store: StoreId,
    /// random, another one whenever the file is replaced
    pub edition: [u8; 16],
}

/// One frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// the first one
    Header(Header),
    /// a subject's key
    Key {
        /// which one
        id: KeyId,
        /// whose
        subject: Subject,
        /// itself, wrapped
        wrapped: [u8; WRAPPED_BYTES],
    },
    /// what is left of one
    Tombstone {
        /// which one
        id: KeyId,
        /// when it was erased, in milliseconds since 1970
        at_ms: u64,
    },
}

/// What bytes are found to be.
pub enum Found {
    /// a frame
    Frame(Frame),
    /// nothing was ever written there
    Hole,
    /// nothing that was written
    Damage,
}

impl Frame {
    /// Its bytes.
    pub fn bytes(&self) -> Bytes {
        let mut bytes = [0; FRAME_BYTES];
        let mut at = 0;
        let mut put = |part: &[u8]| {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        };
        match self {
            Self::Header(Header { check, store, edition }) => [b"H", MAGIC.as_slice(), check, &store.0, edition].map(&mut put).len(),
            Self::Key { id, subject, wrapped } => [b"K", id.0.as_slice(), &subject.0, wrapped].map(&mut put).len(),
            Self::Tombstone { id, at_ms } => [b"T", id.0.as_slice(), &at_ms.to_le_bytes()].map(&mut put).len(),
        };
        let sum = checksum(&bytes[..BODY_BYTES]);
        bytes[BODY_BYTES..].copy_from_slice(&sum);
        bytes
    }

    /// What these bytes are.
    pub fn of(bytes: &Bytes) -> Found {
        if bytes.iter().all(|byte| *byte == 0) {
            return Found::Hole;
        }
        let whole = checksum(&bytes[..BODY_BYTES]) == bytes[BODY_BYTES..];
        whole.then(|| Self::parsed(bytes)).flatten().map_or(Found::Damage, Found::Frame)
    }

    fn parsed(bytes: &Bytes) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (id, rest) = rest.split_first_chunk()?;
        match kind {
            b'H' if id == MAGIC => {
                let (check, rest) = rest.split_first_chunk()?;
                let (store, rest) = rest.split_first_chunk()?;
                Some(Self::Header(Header { check: *check, store: StoreId(*store), edition: *rest.first_chunk()? }))
            }
            b'K' => {
                let (subject, rest) = rest.split_first_chunk()?;
                Some(Self::Key { id: KeyId(*id), subject: Subject(*subject), wrapped: *rest.first_chunk()? })
            }
            b'T' => Some(Self::Tombstone { id: KeyId(*id), at_ms: u64::from_le_bytes(*rest.first_chunk()?) }),
            _ => None,
        }
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&blake3::hash(body).as_bytes()[..CHECKSUM_BYTES]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_comes_back_and_no_flipped_bit_does() {
        let (id, subject) = (KeyId([7; 16]), Subject([9; 20]));
        let key = Frame::Key { id, subject, wrapped: [3; WRAPPED_BYTES] };
        let header = Frame::Header(Header { check: [5; 32], store: StoreId([6; 16]), edition: [8; 16] });
        for frame in [header, key, Frame::Tombstone { id, at_ms: u64::MAX }] {
            let bytes = frame.bytes();
            assert!(matches!(Frame::of(&bytes), Found::Frame(back) if back == frame));
            for bit in 0..FRAME_BYTES * 8 {
                let mut bytes = bytes;
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(matches!(Frame::of(&bytes), Found::Damage), "bit {bit}");
            }
        }
        assert!(matches!(Frame::of(&[0; FRAME_BYTES]), Found::Hole));
    }
}
