//! One spelling for texts that people type, by the rules of Unicode. It must never fold what decides where something is
//! sent: only what two spellings are compared by.

use std::borrow::Cow;

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;

/// The text in Unicode's normal form KC: fullwidth letters, ligatures and combining marks in their one plain form.
pub fn normal(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfkc().normalize(text)
}

/// The text in its normal form, without the difference of upper and lower case (full folding, of no language's own: a
/// Turkish dotless i stays another letter than i). Folding it again changes nothing.
pub fn folded(text: &str) -> String {
    let once = CaseMapper::new().fold_string(&normal(text)).into_owned();
    let twice = CaseMapper::new().fold_string(&normal(&once)).into_owned();
    normal(&twice).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_again_changes_nothing() {
        for first in (0..=0x0010_ffff).filter_map(char::from_u32).filter(|first| first.is_alphanumeric()) {
            for after in ["", "\u{301}", "\u{345}", "\u{327}\u{307}"] {
                let once = folded(&format!("{first}{after}"));
                assert_eq!(folded(&once), once, "U+{:04X} before {}", u32::from(first), after.escape_unicode());
            }
        }
    }

    #[test]
    fn case_makes_no_difference() {
        for letter in (0..=0x0010_ffff).filter_map(char::from_u32).filter(|letter| letter.is_lowercase()) {
            let upper: String = letter.to_uppercase().collect();
            // The upper case of ı is I, and that of ŉ and its like is of two letters: folding keeps the first apart.
            if letter != 'ı' {
                assert_eq!(folded(&upper), folded(&letter.to_string()), "{letter}");
            }
        }
    }
}
