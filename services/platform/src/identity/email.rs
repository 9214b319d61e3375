//! Addresses of mail: what was given, and the one form that two spellings of a mailbox are compared by. It must never
//! make one address of two domains, and nothing is ever sent to a folded form.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointSetData};
use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use crate::identity::folding::{folded, normal};

/// Bytes that the part before the @ has at most, by RFC 5321.
pub const LOCAL_BYTES_MAX: usize = 64;
/// Bytes that an address has at most, by RFC 5321.
pub const ADDRESS_BYTES_MAX: usize = 254;

/// What the part before the @ may have of ASCII beside letters, digits and dots, by RFC 5322. Quoted ones are refused.
const LOCAL_SIGNS: &str = "!#$%&'*+/=?^_`{|}~-";

/// An address of mail. Two with the same `folded` are of one account.
///
/// Folding is wider than what mail servers hold to be one mailbox. So a letter for an account goes to the address that
/// its account keeps as `given`, never to what someone typed that folds to the same.
#[derive(Clone, Debug)]
pub struct Email {
    given: String,
    folded: String,
    at: usize,
}

/// Why a text is no address of mail.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotAnEmail {
    /// nothing, or blanks alone
    #[error("an e-mail address is missing")]
    Empty,
    /// no @, or more than one
    #[error("an e-mail address has exactly one @")]
    At,
    /// white space or a control character inside
    #[error("an e-mail address has no spaces or control characters inside")]
    Blank,
    /// a character that is not seen, such as a zero-width space
    #[error("the e-mail address holds an invisible character")]
    Invisible,
    /// nothing before the @, or a dot at its start, its end or after another
    #[error("the part before the @ is empty, or has a dot too many")]
    Local,
    /// a character before the @ that is neither letter, digit nor one of a few signs; quotes among them
    #[error("the part before the @ holds a character that is not allowed there")]
    LocalCharacter,
    /// too long before the @
    #[error("the part before the @ is longer than {LOCAL_BYTES_MAX} bytes")]
    LocalTooLong,
    /// too long in all
    #[error("the e-mail address is longer than {ADDRESS_BYTES_MAX} bytes")]
    TooLong,
    /// no domain that IDNA knows
    #[error("the part after the @ is not the name of a domain")]
    Domain,
}

impl NotAnEmail {
    /// Its name in answers to programs; it never changes.
    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "email-missing",
            Self::At => "email-at",
            Self::Blank => "email-blank",
            Self::Invisible => "email-invisible",
            Self::Local => "email-local",
            Self::LocalCharacter => "email-local-character",
            Self::LocalTooLong => "email-local-too-long",
            Self::TooLong => "email-too-long",
            Self::Domain => "email-domain",
        }
    }
}

impl Email {
    /// The address that a text is, without the blanks around it.
    pub fn parse(text: &str) -> Result<Self, NotAnEmail> {
        let given = text.trim();
        match given.len() {
            0 => return Err(NotAnEmail::Empty),
            1..=ADDRESS_BYTES_MAX => {}
            _ => return Err(NotAnEmail::TooLong),
        }
        let plain = normal(given);
        visible(&plain)?;
        let (local, domain) = plain.split_once('@').filter(|(_, domain)| !domain.contains('@')).ok_or(NotAnEmail::At)?;
        let (local, domain) = (local_folded(local)?, domain_folded(domain)?);
        let at = local.len();
        let folded = format!("{local}@{domain}");
        if folded.len() > ADDRESS_BYTES_MAX {
            return Err(NotAnEmail::TooLong);
        }
        Ok(Self { given: given.to_owned(), folded, at })
    }

    /// As it was given, without the blanks around it: to show, and to send to.
    pub fn given(&self) -> &str {
        &self.given
    }

    /// What all spellings of this mailbox have in common: to compare and to look up.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// The folded part before the @.
    pub fn local(&self) -> &str {
        &self.folded[..self.at]
    }

    /// The domain in ASCII.
    pub fn domain(&self) -> &str {
        &self.folded[self.at + 1..]
    }
}

/// That every character is one that people can see.
fn visible(text: &str) -> Result<(), NotAnEmail> {
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    for character in text.chars() {
        match CodePointMapData::<GeneralCategory>::new().get(character) {
            _ if character.is_whitespace() => return Err(NotAnEmail::Blank),
            GeneralCategory::Control => return Err(NotAnEmail::Blank),
            GeneralCategory::Format => return Err(NotAnEmail::Invisible),
            _ if ignorable.contains(character) => return Err(NotAnEmail::Invisible),
            _ => {}
        }
    }
    Ok(())
}

/// The part before the @, folded. Measured before and after, since folding may lengthen it.
fn local_folded(local: &str) -> Result<String, NotAnEmail> {
    if local.split('.').any(str::is_empty) {
        return Err(NotAnEmail::Local);
    }
    if !local.chars().all(allowed) || local.chars().next().is_some_and(mark) {
        return Err(NotAnEmail::LocalCharacter);
    }
    let folded = folded(local);
    if local.len().max(folded.len()) > LOCAL_BYTES_MAX {
        return Err(NotAnEmail::LocalTooLong);
    }
    Ok(folded)
}

/// The domain in ASCII. IDNA folds its case itself, by rules under which ß is not ss: as here two domains may have two
/// owners, and one is never taken for the other.
fn domain_folded(domain: &str) -> Result<String, NotAnEmail> {
    let ascii = Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify);
    ascii.map(String::from).map_err(|_| NotAnEmail::Domain)
}

/// Whether the part before the @ may hold it.
fn allowed(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || character == '.' || LOCAL_SIGNS.contains(character);
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    GeneralCategoryGroup::Letter.contains(category) || GeneralCategoryGroup::Number.contains(category) || mark(character)
}

/// Whether it is a mark upon the character before it.
fn mark(character: char) -> bool {
    GeneralCategoryGroup::Mark.contains(CodePointMapData::<GeneralCategory>::new().get(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_mailbox_fold_to_one() {
        for (text, folded) in [
            ("ann@example.com", "ann@example.com"),
            ("  Ann@Example.COM\t", "ann@example.com"),
            ("ＡＮＮ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ann@example.com"), // fullwidth, the @ and the dot too
            ("ann＠example。com", "ann@example.com"),              // ideographic full stop
            ("ann@example｡com", "ann@example.com"),                // halfwidth ideographic full stop
            ("𝐚𝐧𝐧@𝗲𝘅𝗮𝗺𝗽𝗹𝗲.com", "ann@example.com"),                // mathematical letters
            ("ﬁnn@example.com", "finn@example.com"),               // a ligature
            ("André@example.com", "andré@example.com"),            // composed
            ("Andre\u{301}@example.com", "andré@example.com"),     // combining
            ("ANDRE\u{301}@example.com", "andré@example.com"),     // combining, upper case
            ("STRASSE@example.com", "strasse@example.com"),        //
            ("straße@example.com", "strasse@example.com"),         // sharp s
            ("STRAẞE@example.com", "strasse@example.com"),         // capital sharp s
            ("ΣΊΣΥΦΟΣ@example.com", "σίσυφοσ@example.com"),        // final sigma
            ("σίσυφος@example.com", "σίσυφοσ@example.com"),        //
            ("K\u{212a}@example.com", "kk@example.com"),           // Kelvin sign
            ("mıke@example.com", "mıke@example.com"),              // dotless i is another letter
            ("MIKE@example.com", "mike@example.com"),              // I is of i, in no language's own way
            ("İda@example.com", "i\u{307}da@example.com"),         // dotted capital I keeps its dot
            ("ann@münchen.de", "ann@xn--mnchen-3ya.de"),           // Unicode domain
            ("ann@MÜNCHEN.de", "ann@xn--mnchen-3ya.de"),           //
            ("ann@mu\u{308}nchen.de", "ann@xn--mnchen-3ya.de"),    //
            ("ann@xn--mnchen-3ya.de", "ann@xn--mnchen-3ya.de"),    // punycode
            ("ann@XN--MNCHEN-3YA.DE", "ann@xn--mnchen-3ya.de"),    //
            ("ann@straße.de", "ann@xn--strae-oqa.de"),             // of another owner than strasse.de
            ("ann@strasse.de", "ann@strasse.de"),                  //
            ("ann@例え.テスト", "ann@xn--r8jz45g.xn--zckzah"),     //
            ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"),     //
            ("a.b+c_d-e!#$%&'*/=?^`{|}~@example.com", "a.b+c_d-e!#$%&'*/=?^`{|}~@example.com"),
            ("ann@r3---sn-apo3qvuoxuxbt-j5pe.googlevideo.com", "ann@r3---sn-apo3qvuoxuxbt-j5pe.googlevideo.com"),
        ] {
            let email = Email::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(email.folded(), folded, "{text}");
            assert_eq!(email.given(), text.trim());
            assert_eq!(format!("{}@{}", email.local(), email.domain()), folded);
            assert_eq!(Email::parse(folded).map(|again| again.folded().to_owned()), Ok(folded.to_owned()), "{text} folded again");
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long_folded = format!("{}@example.com", "İ".repeat(32)); // two bytes each, three when folded
        let long = format!("a@{}com", "abcdefgh.".repeat(28));
        let label = format!("a@{}.com", "b".repeat(64));
        for (text, why) in [
            ("", NotAnEmail::Empty),
            (" \t ", NotAnEmail::Empty),
            ("ann", NotAnEmail::At),
            ("ann.example.com", NotAnEmail::At),
            ("ann@b@example.com", NotAnEmail::At),
            ("ann＠b@example.com", NotAnEmail::At), // the second appears by normalising
            ("ann﹫b@example.com", NotAnEmail::At),
            ("@example.com", NotAnEmail::Local),
            (".ann@example.com", NotAnEmail::Local),
            ("ann.@example.com", NotAnEmail::Local),
            ("an..n@example.com", NotAnEmail::Local),
            ("an․․n@example.com", NotAnEmail::Local), // one dot leaders become dots
            ("an…n@example.com", NotAnEmail::Local),
            ("\"ann\"@example.com", NotAnEmail::LocalCharacter), // quoted
            ("\"a b\"@example.com", NotAnEmail::Blank),
            ("\"a@b\"@example.com", NotAnEmail::At),
            ("ann(note)@example.com", NotAnEmail::LocalCharacter),
            ("Ann<ann@example.com>", NotAnEmail::LocalCharacter),
            ("ann,bob@example.com", NotAnEmail::LocalCharacter),
            ("ann\\@example.com", NotAnEmail::LocalCharacter),
            ("😀@example.com", NotAnEmail::LocalCharacter),
            ("\u{301}ann@example.com", NotAnEmail::LocalCharacter),
            ("a n@example.com", NotAnEmail::Blank),
            ("a\u{a0}n@example.com", NotAnEmail::Blank),
            ("a\u{3000}n@example.com", NotAnEmail::Blank),
            ("a\u{2028}n@example.com", NotAnEmail::Blank),
            ("ann@exam ple.com", NotAnEmail::Blank),
            ("ann\0@example.com", NotAnEmail::Blank),
            ("ann\r\nbcc:bob@example.com", NotAnEmail::Blank),
            ("ann\u{7f}@example.com", NotAnEmail::Blank),
            ("ann\u{85}x@example.com", NotAnEmail::Blank),
            ("an\u{200b}n@example.com", NotAnEmail::Invisible),  // zero-width space
            ("an\u{200c}n@example.com", NotAnEmail::Invisible),  // zero-width non-joiner
            ("an\u{200d}n@example.com", NotAnEmail::Invisible),  // zero-width joiner
            ("an\u{2060}n@example.com", NotAnEmail::Invisible),  // word joiner
            ("\u{feff}ann@example.com", NotAnEmail::Invisible),  // byte order mark
            ("an\u{ad}n@example.com", NotAnEmail::Invisible),    // soft hyphen
            ("an\u{202e}n@example.com", NotAnEmail::Invisible),  // right-to-left override
            ("an\u{34f}n@example.com", NotAnEmail::Invisible),   // combining grapheme joiner
            ("an\u{fe0f}n@example.com", NotAnEmail::Invisible),  // variation selector
            ("an\u{3164}n@example.com", NotAnEmail::Invisible),  // Hangul filler
            ("an\u{e0061}n@example.com", NotAnEmail::Invisible), // tag
            ("ann@exam\u{200b}ple.com", NotAnEmail::Invisible),  // IDNA alone would drop it
            ("ann@exam\u{ad}ple.com", NotAnEmail::Invisible),
            ("ann@", NotAnEmail::Domain),
            ("ann@example.com.", NotAnEmail::Domain), // trailing dots
            ("ann@example.com..", NotAnEmail::Domain),
            ("ann@example.com。", NotAnEmail::Domain),
            ("ann@.example.com", NotAnEmail::Domain),
            ("ann@example..com", NotAnEmail::Domain),
            ("ann@-example.com", NotAnEmail::Domain),
            ("ann@example-.com", NotAnEmail::Domain),
            ("ann@exam_ple.com", NotAnEmail::Domain),
            ("ann@exa!mple.com", NotAnEmail::Domain),
            ("ann@[127.0.0.1]", NotAnEmail::Domain),
            ("ann@example.com:25", NotAnEmail::Domain),
            ("ann@xn--a.com", NotAnEmail::Domain),        // no punycode
            ("ann@xn--example-.com", NotAnEmail::Domain), // punycode of what is ASCII
            ("ann@xn--MNCHEN-3YA-.de", NotAnEmail::Domain),
            ("ann@\u{338}example.com", NotAnEmail::Domain),
            (&label, NotAnEmail::Domain),
            (&long_local, NotAnEmail::LocalTooLong),
            (&long_folded, NotAnEmail::LocalTooLong),
            (&long, NotAnEmail::TooLong),
        ] {
            assert_eq!(Email::parse(text).map(|email| email.folded().to_owned()), Err(why), "{}", text.escape_debug());
        }
    }

    #[test]
    fn the_longest_are_taken() {
        let local = format!("{}@example.com", "a".repeat(64));
        let whole = format!("{}@{}{}.com", "a".repeat(64), "abcdefg.".repeat(22), "b".repeat(9));
        assert_eq!(whole.len(), ADDRESS_BYTES_MAX);
        for text in [local, whole] {
            assert!(Email::parse(&text).is_ok(), "{text}");
        }
    }
}
