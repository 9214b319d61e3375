//! Money and ids as text.

use domain::{Currency, Money, MoneyError, OrderId, ProductRef, Timestamp, routing_key};
use proptest::prelude::*;

#[test]
fn amounts_are_read_and_written_digit_by_digit() {
    for (text, currency, minor, shown) in [
        ("2.55", Currency::GBP, 255, "2.55"),
        ("2", Currency::GBP, 200, "2.00"),
        ("0.5", Currency::GBP, 50, "0.50"),
        ("2.500", Currency::GBP, 250, "2.50"),
        ("-0.01", Currency::GBP, -1, "-0.01"),
        ("120", Currency::JPY, 120, "120"),
        ("1.234", Currency::BHD, 1_234, "1.234"),
    ] {
        let money = Money::parse(text, currency).unwrap();
        assert_eq!((money.minor, money.to_string().as_str()), (minor, shown));
    }
    for text in ["", ".", ".5", "1.234", "1,5", "1e3", "--1", "+1", "£1", "1.2.3", "99999999999999999999"] {
        assert!(Money::parse(text, Currency::GBP).is_err(), "{text}");
    }
    assert!(Money::parse("1.5", Currency::JPY).is_err());
}

#[test]
fn currencies_do_not_mix_and_sums_do_not_wrap() {
    let (pound, dollar) = (Money::new(100, Currency::GBP), Money::new(100, Currency::USD));
    assert_eq!(pound.plus(dollar), Err(MoneyError::Currencies(Currency::GBP, Currency::USD)));
    assert_eq!(Money::new(i64::MAX, Currency::GBP).plus(pound), Err(MoneyError::TooLarge));
    assert_eq!(Money::new(i64::MAX, Currency::GBP).times(2), Err(MoneyError::TooLarge));
}

#[test]
fn ids_have_one_spelling() {
    for text in ["17-3", "0-0", "18446744073709551615-1"] {
        assert_eq!(text.parse::<OrderId>().unwrap().to_string(), text);
    }
    for text in ["", "17", "17-", "-3", "017-3", "17-03", "17-3-1", "a-3", "17 -3", "+17-3"] {
        assert!(text.parse::<ProductRef>().is_err(), "{text}");
    }
    assert_eq!([routing_key("17-3"), routing_key("17"), routing_key("~4")], ["17", "17", "~4"]);
}

proptest! {
    #[test]
    fn what_is_written_is_read(minor in any::<i64>().prop_filter("the smallest has no opposite", |minor| *minor != i64::MIN)) {
        for currency in [Currency::GBP, Currency::JPY, Currency::BHD] {
            let money = Money::new(minor, currency);
            prop_assert_eq!(Money::parse(&money.to_string(), currency), Ok(money));
        }
    }

    #[test]
    fn times_are_read_as_written(micros in 0_i64..4_000_000_000_000_000) {
        prop_assert_eq!(Timestamp(micros).to_string().parse(), Ok(Timestamp(micros)));
    }
}
