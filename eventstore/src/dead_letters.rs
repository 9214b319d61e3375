//! Dead letters: what could not be processed, with its reason and origin. Drops nothing that fits; lets no card number
//! through. Whatever a record holds, its letter fits a record: else it could be neither processed nor put aside.

use schemas::envelope::{DLT_CUT, DLT_DETAIL, DLT_OFFSET, DLT_PARTITION, DLT_REASON, DLT_TIMESTAMP, DLT_TOPIC};
use schemas::{Headers, Partition, Topic};

use crate::log::{Message, RECORD_BYTES_MAX, Record};

/// Longest text that is said of a letter, a refusal or a failed command.
pub const DETAIL_BYTES_MAX: usize = 2_000;
/// What is left of a key that is too long with all the rest, and of a header's value.
const PART_BYTES_MAX: usize = 1_024;
/// What is left of headers that are too long with all the rest: first of ours, then of the others.
const HEADERS_BYTES_MAX: usize = 32 * 1024;
/// Most headers of a letter; each costs a few bytes more in the log than it counts for.
const HEADERS_MAX: usize = 256;
const _: () = assert!(PART_BYTES_MAX + 2 * HEADERS_BYTES_MAX + 3 * DETAIL_BYTES_MAX < RECORD_BYTES_MAX);

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
    /// An event of its aggregate was passed over: nothing is decided on it any more.
    Closed,
    /// Deciding it broke a rule of the program.
    Panicked,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Malformed, Self::UnknownType, Self::NewerVersion, Self::Misrouted, Self::TooLarge, Self::Refused, Self::Panicked, Self::Closed];

    /// As the header says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownType => "unknown-type",
            Self::NewerVersion => "newer-version",
            Self::Misrouted => "misrouted",
            Self::TooLarge => "too-large",
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::Panicked => "panicked",
        }
    }
}

/// A text of at most [`DETAIL_BYTES_MAX`] bytes, with a mark where it was cut.
pub fn shortened(text: &str) -> String {
    let mut end = DETAIL_BYTES_MAX;
    if text.len() <= end {
        return text.to_owned();
    }
    end -= "…".len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// A record that could not be processed, as it is put aside.
pub struct DeadLetter {
    /// the record's
    pub partition: Partition,
    /// the record's, masked
    pub key: Vec<u8>,
    /// the record's, masked, and what went wrong
    pub headers: Headers,
    /// the record's, masked; none where it was cut
    pub value: Option<Vec<u8>>,
}

impl DeadLetter {
    /// Its record, in a service's topic of dead letters.
    pub fn message(self, to: Topic) -> Message {
        let Self { partition, key, headers, value } = self;
        Message { topic: to, partition, key, headers, value }
    }
}

/// The dead letter of `record`: the same key, headers and body, card numbers masked, what went wrong, and what else is to
/// be known `about` it. What does not fit is cut, and [`DLT_CUT`] says so; the record itself stays where the headers say.
pub fn dead_letter(record: &Record, reason: Reason, detail: &str, about: &[(&'static str, &str)]) -> DeadLetter {
    let mut notes = Headers::default();
    notes.push(DLT_REASON, reason.as_str());
    notes.push(DLT_DETAIL, masked(shortened(detail).as_bytes()));
    notes.push(DLT_TOPIC, record.topic.as_str());
    notes.push(DLT_PARTITION, record.partition.to_string());
    notes.push(DLT_OFFSET, record.offset.to_string());
    notes.push(DLT_TIMESTAMP, record.recorded_at.to_string());
    about.iter().for_each(|(name, value)| notes.push(name, shortened(value)));
    let given = || record.headers.iter().filter(|(name, _)| !name.starts_with("dlt-"));
    let whole = given().map(|(name, value)| name.len() + value.len()).sum::<usize>() + notes.bytes() + record.key.len() + DLT_CUT.len() + 16;
    let (mut key, mut value, mut cut) = (record.key.as_slice(), record.value.as_deref(), vec![]);
    let mut kept: Vec<(&str, &[u8])> = vec![];
    if whole > RECORD_BYTES_MAX || given().count() + notes.len() > HEADERS_MAX {
        if key.len() > PART_BYTES_MAX {
            key = &key[..PART_BYTES_MAX];
            cut.push("key");
        }
        kept = fitting(given());
        cut.push("headers");
    } else {
        kept.extend(given());
    }
    let bytes = kept.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() + notes.bytes() + key.len() + DLT_CUT.len() + 16;
    if bytes + value.map_or(0, <[u8]>::len) > RECORD_BYTES_MAX {
        value = None;
        cut.push("body");
    }
    let mut headers: Headers = kept.into_iter().map(|(name, value)| (name.to_owned(), masked(value))).collect();
    notes.iter().for_each(|(name, value)| headers.push(name, value));
    if !cut.is_empty() {
        headers.push(DLT_CUT, cut.join(","));
    }
    DeadLetter { partition: record.partition, key: masked(key), headers, value: value.map(masked) }
}

/// Of headers that do not fit: ours first, each cut to a part, as many as there is room for.
fn fitting<'h>(headers: impl Iterator<Item = (&'h str, &'h [u8])>) -> Vec<(&'h str, &'h [u8])> {
    let ours = |name: &str| name.starts_with("ce_") || ["content-type", "reply-to", "traceparent"].contains(&name);
    let (known, others): (Vec<_>, Vec<_>) = headers.filter(|(name, _)| name.len() <= PART_BYTES_MAX).partition(|(name, _)| ours(name));
    let mut kept = vec![];
    for part in [known, others] {
        let mut room = HEADERS_BYTES_MAX;
        for (name, value) in part.into_iter().take(HEADERS_MAX / 2 - 16) {
            let value = &value[..value.len().min(PART_BYTES_MAX)];
            let Some(left) = room.checked_sub(name.len() + value.len()) else { break };
            room = left;
            kept.push((name, value));
        }
    }
    kept
}

/// The bytes with every card number replaced by `*` but its last four: a run of 13 to 19 digits that passes the Luhn check and
/// begins as payment cards do. Single blanks and dashes inside a run count as part of it.
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
        if (13..=19).contains(&number.len()) && of_cards(&number) && luhn(&number) {
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

/// Whether numbers of payment cards begin so (ISO/IEC 7812-1: 2 to 6 is banking, travel and trade; 81 and 82 are RuPay's). Times
/// in microseconds begin otherwise, and so do numbers that are drawn as ids.
fn of_cards(digits: &[u8]) -> bool {
    matches!(digits, [2..=6, ..] | [8, 1 | 2, ..])
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
            ("7000000000000005", "7000000000000005"), // an id that passes
            ("1795700000123457", "1795700000123457"), // a time that passes
            ("order 17-3, 42 pieces", "order 17-3, 42 pieces"),
        ] {
            assert_eq!(String::from_utf8_lossy(&masked(given.as_bytes())), shown);
        }
    }
}
