//! Dead letters: what could not be processed, with its reason and origin. Drops nothing; lets no card number through.

use schemas::envelope::{DLT_DETAIL, DLT_OFFSET, DLT_PARTITION, DLT_REASON, DLT_TIMESTAMP, DLT_TOPIC};
use schemas::{Headers, Topic};

use crate::log::{Message, RECORD_BYTES_MAX, Record};

/// Why a record became a dead letter. The names are header values: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Headers or body cannot be read.
    Malformed,
    /// Its type is none of this service's.
    UnknownType,
    /// Its schema version is newer than this program.
    NewerVersion,
    /// Its key does not lead to its partition, or its subject not to its key.
    Misrouted,
    /// What it causes does not fit a record.
    TooLarge,
    /// A command made by a policy was refused.
    Refused,
    /// Deciding it broke a rule of the program.
    Panicked,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Malformed, Self::UnknownType, Self::NewerVersion, Self::Misrouted, Self::TooLarge, Self::Refused, Self::Panicked];

    /// As the header says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownType => "unknown-type",
            Self::NewerVersion => "newer-version",
            Self::Misrouted => "misrouted",
            Self::TooLarge => "too-large",
            Self::Refused => "refused",
            Self::Panicked => "panicked",
        }
    }
}

/// The dead letter of `record`: the same key, headers and body, card numbers masked, and what went wrong.
pub fn dead_letter(to: Topic, record: &Record, reason: Reason, detail: &str) -> Message {
    let mut headers: Headers =
        record.headers.iter().filter(|(name, _)| !name.starts_with("dlt-")).map(|(name, value)| (name.to_owned(), masked(value))).collect();
    headers.push(DLT_REASON, reason.as_str());
    headers.push(DLT_DETAIL, masked(detail.as_bytes()));
    headers.push(DLT_TOPIC, record.topic.as_str());
    headers.push(DLT_PARTITION, record.partition.to_string());
    headers.push(DLT_OFFSET, record.offset.to_string());
    headers.push(DLT_TIMESTAMP, record.recorded_at.to_string());
    let mut letter = Message { topic: to, partition: record.partition, key: masked(&record.key), headers, value: record.value.as_deref().map(masked) };
    if letter.bytes() > RECORD_BYTES_MAX {
        letter.value = None; // the record itself stays where the headers say
    }
    letter
}

/// The bytes with every run of 13 to 19 digits that passes the Luhn check replaced by `*` but its last four.
/// Single blanks and dashes inside a run count as part of it.
pub fn masked(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < out.len() {
        if !out[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = run_end(&out, at);
        let digits: Vec<usize> = (at..end).filter(|&place| out[place].is_ascii_digit()).collect();
        let number: Vec<u8> = digits.iter().map(|&place| out[place] - b'0').collect();
        if (13..=19).contains(&number.len()) && luhn(&number) {
            digits[..digits.len() - 4].iter().for_each(|&place| out[place] = b'*');
        }
        at = end;
    }
    out
}

fn run_end(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    while end < bytes.len() {
        let separated = matches!(bytes[end], b' ' | b'-') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !bytes[end].is_ascii_digit() && !separated {
            break;
        }
        end += 1;
    }
    end
}

/// ISO/IEC 7812-1, annex B.
fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = digits.iter().rev().enumerate().map(|(at, &digit)| u32::from(if at % 2 == 1 { doubled(digit) } else { digit })).sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_masked_and_nothing_else() {
        for (given, shown) in [
            ("4111111111111111", "************1111"),
            (r#"{"CardNumber":"5555 5555 5555 4444","n":1}"#, r#"{"CardNumber":"**** **** **** 4444","n":1}"#),
            ("4111-1111-1111-1111.", "****-****-****-1111."),
            ("4111111111111112", "4111111111111112"), // fails the check
            ("411111111111", "411111111111"),         // too short
            ("order 17-3, 42 pieces", "order 17-3, 42 pieces"),
        ] {
            assert_eq!(String::from_utf8_lossy(&masked(given.as_bytes())), shown);
        }
    }
}
