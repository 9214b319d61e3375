//! Sizes of texts as the log will hold them. An order that does not fit a record must be refused at its cart.

/// Bytes of a text in JSON, escapes included.
pub(crate) fn json_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}
