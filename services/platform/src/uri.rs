//! Names in addresses: the one percent-encoding. Knows no route.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

/// Whatever may mean something in a path or a query. A colon means nothing there, and scoped ids have one.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// A name as one part of a path, or as the value of a query.
pub fn part(name: &str) -> PercentEncode<'_> {
    utf8_percent_encode(name, ENCODED)
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn only_what_means_nothing_in_an_address_is_itself() {
        assert_eq!(part("order/17-3 a&b=c?d#e%f:g.h_i~j+k\u{e9}").to_string(), "order%2F17-3%20a%26b%3Dc%3Fd%23e%25f:g.h_i~j%2Bk%C3%A9");
    }
}
