//! Whatever comes in: reading answers, never panics, and what it takes it can write and take again.

use proptest::prelude::*;
use proptest::sample::Index;
use schemas::codec::{load, save};
use schemas::envelope::Kind;
use schemas::{Envelope, Headers};

use crate::envelope::full;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_kind_has_one_text(text in "(dev\\.daybook\\.)?[a-z.+ -]{0,12}(\\.v)?[0-9+]{0,6}") {
        if let Ok(kind) = text.parse::<Kind>() {
            prop_assert_eq!(kind.to_string(), text);
        }
    }

    #[test]
    fn kinds_come_back(aggregate in "[a-z][a-z-]{0,20}", name in "[a-z][a-z.-]{0,20}", version in 1_u16..) {
        let kind = Kind { aggregate: aggregate.into(), name: name.into(), version };
        prop_assert_eq!(kind.to_string().parse(), Ok(kind));
    }

    #[test]
    fn headers_that_are_read_are_read_again(at in any::<Index>(), value in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[+-]?[0-9]{1,20}".prop_map(String::into_bytes),
        "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-5][0-9])".prop_map(String::into_bytes),
        "(0000|9999)-(01-01T00|12-31T23):(00|59):(00|59|60)(Z|[+-]00:01)".prop_map(String::into_bytes),
    ]) {
        let before = full().headers();
        let at = at.index(before.len());
        let headers: Headers = before.iter().enumerate().map(|(place, (name, known))| (name.to_owned(), if place == at { value.clone() } else { known.to_vec() })).collect();
        if let Ok(envelope) = Envelope::read(&headers) {
            prop_assert_eq!(Envelope::read(&envelope.headers()), Ok(envelope));
        }
    }

    #[test]
    fn saved_rows_come_back_and_damaged_ones_are_answered(shape in any::<u8>(), row in any::<(u64, i64, String, Vec<Option<bool>>)>(), at in any::<Index>(), splice in prop::collection::vec(any::<u8>(), 0..12)) {
        type Row = (u64, i64, String, Vec<Option<bool>>);
        let mut bytes = save(shape, &row).unwrap();
        prop_assert_eq!(load::<Row>(shape, &bytes), Ok(Some(row)));
        prop_assert_eq!(load::<Row>(shape.wrapping_add(1), &bytes), Ok(None));
        let from = at.index(bytes.len());
        bytes.splice(from.., splice);
        let _ = load::<Row>(shape, &bytes);
    }
}
