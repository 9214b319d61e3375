//! Bytes of a file as text, in the encoding it was written in. Never puts a sign in the place of one it cannot read.

use std::borrow::Cow;
use std::str::FromStr;

/// How a file's bytes are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8
    Utf8,
    /// what Windows writes in Western Europe and America
    Windows1252,
    /// ISO 8859-1
    Latin1,
    /// UTF-16, in the byte order its first two bytes tell, or the little end first
    Utf16,
}

/// What windows-1252 has in the place of ISO 8859-1's control characters, from 0x80; a space where it has nothing.
const WINDOWS: &str = "€ ‚ƒ„…†‡ˆ‰Š‹Œ Ž  ‘’“”•–—˜™š›œ žŸ";

impl FromStr for Encoding {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Ok(Self::Utf8),
            "windows-1252" | "cp1252" => Ok(Self::Windows1252),
            "iso-8859-1" | "latin-1" | "latin1" => Ok(Self::Latin1),
            "utf-16" | "utf16" | "utf-16le" | "utf-16be" => Ok(Self::Utf16),
            _ => Err("one of utf-8, windows-1252, iso-8859-1, utf-16".to_owned()),
        }
    }
}

impl Encoding {
    /// The encoding that a file's first bytes tell, and UTF-8 where they tell none.
    pub fn of_mark(bytes: &[u8]) -> Self {
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) { Self::Utf16 } else { Self::Utf8 }
    }

    /// The file in an encoding whose ASCII is ASCII, without its byte order mark, and that encoding.
    pub fn plain(self, bytes: &[u8]) -> (Cow<'_, [u8]>, Self) {
        match self {
            Self::Utf16 => (Cow::Owned(utf8_of(bytes)), Self::Utf8),
            other => (Cow::Borrowed(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)), other),
        }
    }

    /// A field's text; none if its bytes mean nothing in this encoding.
    pub fn text(self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Windows1252 => bytes.iter().map(|byte| windows(*byte)).collect(),
            Self::Latin1 => bytes.iter().map(|byte| Some(char::from(*byte)).filter(|_| !(0x80..=0x9f).contains(byte))).collect(),
            Self::Utf8 | Self::Utf16 => std::str::from_utf8(bytes).ok().map(str::to_owned),
        }
    }
}

fn windows(byte: u8) -> Option<char> {
    match byte.checked_sub(0x80) {
        Some(at @ ..0x20) => WINDOWS.chars().nth(usize::from(at)).filter(|letter| *letter != ' '),
        _ => Some(char::from(byte)),
    }
}

/// What is no UTF-16 stays no UTF-8, so that its line is refused and no other.
fn utf8_of(bytes: &[u8]) -> Vec<u8> {
    let big = bytes.starts_with(&[0xfe, 0xff]);
    let marked = big || bytes.starts_with(&[0xff, 0xfe]);
    let pairs = bytes[if marked { 2 } else { 0 }..].chunks(2).map(|pair| match *pair {
        [high, low] if big => u16::from_be_bytes([high, low]),
        [low, high] => u16::from_le_bytes([low, high]),
        _ => 0xd800, // half a unit at the end
    });
    let mut text = vec![];
    for read in char::decode_utf16(pairs) {
        match read {
            Ok(letter) => text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(_) => text.push(0xff),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_the_bytes_mean_or_none() {
        assert_eq!(WINDOWS.chars().count(), 32);
        assert_eq!(Encoding::Windows1252.text(b"\xa3 \x80 \x9f \x92").as_deref(), Some("£ € Ÿ ’"));
        assert_eq!([0x81, 0x8d, 0x8f, 0x90, 0x9d].map(|byte| Encoding::Windows1252.text(&[byte])), [const { None }; 5]);
        assert_eq!(Encoding::Latin1.text(b"\xa3\xfc").as_deref(), Some("£ü"));
        assert_eq!((Encoding::Latin1.text(b"\x80"), Encoding::Utf8.text(b"\xa3")), (None, None));
        for (bytes, text) in
            [(&b"\xff\xfea\0\xac\x20"[..], Some("a€")), (b"\xfe\xff\0a\x20\xac", Some("a€")), (b"\xff\xfea\0\xac", None), (b"\xff\xfe\0\xd8a\0", None)]
        {
            let (plain, encoding) = Encoding::of_mark(bytes).plain(bytes);
            assert_eq!(encoding.text(&plain).as_deref(), text);
        }
        assert_eq!(&*Encoding::Utf8.plain(b"\xef\xbb\xbfa").0, b"a");
    }
}
