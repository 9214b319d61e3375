//! Dates as shops write them: RFC 3339 and what follows it are read as they stand, `12/1/2010 8:26` in the order that the
//! file's other dates prove, and never in one that was guessed.

use std::str::FromStr;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Tz;
use domain::Timestamp;

/// Why a date is not taken.
pub const AMBIGUOUS: &str = "ambiguous_date";

/// The years a sale may be of.
const YEARS: [i32; 2] = [1900, 9999];

/// How dates are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// month, day, year
    MonthFirst,
    /// day, month, year
    DayFirst,
    /// RFC 3339
    Rfc3339,
    /// as `strftime` has it
    Pattern(String),
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "month-first" => Ok(Self::MonthFirst),
            "day-first" => Ok(Self::DayFirst),
            "rfc3339" => Ok(Self::Rfc3339),
            pattern if pattern.contains('%') && !StrftimeItems::new(pattern).any(|item| matches!(item, Item::Error)) => Ok(Self::Pattern(pattern.to_owned())),
            _ => Err("month-first, day-first, rfc3339, or a pattern such as '%d.%m.%Y %H:%M'".to_owned()),
        }
    }
}

/// Where a time without an offset is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// this far from UTC
    Fixed(FixedOffset),
    /// as the clocks there went
    Named(Tz),
}

impl FromStr for Zone {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let named = || text.parse().map(Self::Named).map_err(|_| "a zone such as Europe/London, or an offset such as +01:00".to_owned());
        text.parse().map(Self::Fixed).or_else(|_| named())
    }
}

/// Reads the dates of a file.
#[derive(Clone, Debug)]
pub struct Dates {
    /// as it was told; found out line by line if it was not
    format: Option<Format>,
    zone: Zone,
    /// the order that dates of three numbers have in this file, if that is known
    order: Option<Format>,
}

impl Dates {
    /// Of a file with these dates.
    pub fn of<'d>(format: Option<Format>, zone: Zone, dates: impl Iterator<Item = &'d str>) -> Self {
        // More than twelve is no month. Two equal numbers are the same date in either order.
        let (mut day_first, mut month_first) = (false, false);
        for [first, second, _] in dates.filter_map(|date| Some(split(date)?.0)).filter(|date| date[2] >= 1000) {
            day_first |= first > 12 && second <= 12;
            month_first |= second > 12 && first <= 12;
        }
        let order = match (day_first, month_first) {
            (true, false) => Some(Format::DayFirst),
            (false, true) => Some(Format::MonthFirst),
            _ => None,
        };
        Self { format, zone, order }
    }

    /// When that is, or why it is not known: a stable name.
    pub fn read(&self, text: &str) -> Result<Timestamp, &'static str> {
        let malformed = "malformed_date";
        let text = text.trim();
        let at = match &self.format {
            Some(Format::Rfc3339) => text.parse().map_err(|_| malformed)?,
            Some(Format::Pattern(pattern)) => self.by(pattern, text).ok_or(malformed)?,
            Some(order) => self.local(numbers(text, Some(order))?).ok_or(malformed)?,
            None => match text.parse() {
                Ok(at) => at,
                Err(_) => self.local(numbers(text, self.order.as_ref())?).ok_or(malformed)?,
            },
        };
        let year = |year: i32| NaiveDate::from_ymd_opt(year, 1, 1).map_or(i64::MAX, |day| day.and_time(NaiveTime::MIN).and_utc().timestamp_micros());
        if (year(YEARS[0])..year(YEARS[1] + 1)).contains(&at.0) { Ok(at) } else { Err("date_out_of_range") }
    }

    fn by(&self, pattern: &str, text: &str) -> Option<Timestamp> {
        if let Ok(at) = DateTime::parse_from_str(text, pattern) {
            return Some(Timestamp(at.timestamp_micros()));
        }
        let day = || NaiveDate::parse_from_str(text, pattern).map(|day| day.and_time(NaiveTime::MIN));
        self.local(NaiveDateTime::parse_from_str(text, pattern).or_else(|_| day()).ok()?)
    }

    /// A time that the clocks showed twice is the first of both; one that they skipped never was.
    fn local(&self, at: NaiveDateTime) -> Option<Timestamp> {
        fn earliest<T: TimeZone>(zone: &T, at: &NaiveDateTime) -> Option<i64> {
            match zone.from_local_datetime(at) {
                MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => Some(at.timestamp_micros()),
                MappedLocalTime::None => None,
            }
        }
        match &self.zone {
            Zone::Fixed(zone) => earliest(zone, &at),
            Zone::Named(zone) => earliest(zone, &at),
        }
        .map(Timestamp)
    }
}

/// The three numbers of a date, and the rest.
fn split(text: &str) -> Option<([u32; 3], &str)> {
    let (date, time) = text.trim().split_once([' ', 'T']).unwrap_or((text.trim(), ""));
    let separator = date.chars().find(|letter| matches!(letter, '/' | '.' | '-'))?;
    let mut parts = date.split(separator);
    let mut number = |most: usize| parts.next().filter(|part| (1..=most).contains(&part.len())).and_then(digits);
    let numbers = [number(4)?, number(2)?, number(4)?];
    parts.next().is_none().then_some((numbers, time))
}

/// A time of a date whose year, of four digits, stands first or last.
fn numbers(text: &str, order: Option<&Format>) -> Result<NaiveDateTime, &'static str> {
    let malformed = "malformed_date";
    let ([first, second, third], time) = split(text).ok_or(malformed)?;
    let (year, month, day) = match order {
        _ if first > 999 => (first, second, third),
        _ if third < 1000 => return Err(malformed),
        Some(Format::MonthFirst) => (third, first, second),
        Some(Format::DayFirst) => (third, second, first),
        _ if first == second => (third, first, second),
        _ => return Err(AMBIGUOUS),
    };
    let date = i32::try_from(year).ok().and_then(|year| NaiveDate::from_ymd_opt(year, month, day)).ok_or(malformed)?;
    Ok(date.and_time(clock(time.trim()).ok_or(malformed)?))
}

/// `8:26`, `08:26:00`, `8:26 PM`; midnight where there is none.
fn clock(text: &str) -> Option<NaiveTime> {
    if text.is_empty() {
        return Some(NaiveTime::MIN);
    }
    let lower = text.to_ascii_lowercase();
    let (bare, half) = match (lower.strip_suffix("am"), lower.strip_suffix("pm")) {
        (Some(bare), _) => (bare.trim_end(), Some(0)),
        (_, Some(bare)) => (bare.trim_end(), Some(12)),
        _ => (lower.as_str(), None),
    };
    let (bare, micros) = match bare.split_once('.') {
        Some((bare, fraction)) if (1..=6).contains(&fraction.len()) => (bare, digits(&format!("{fraction:0<6}"))?),
        Some(_) => return None,
        None => (bare, 0),
    };
    let mut parts = bare.split(':').map(|part| Some(part).filter(|part| (1..=2).contains(&part.len())).and_then(digits));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let hour = match half {
        Some(half) if (1..=12).contains(&hour) => hour % 12 + half,
        Some(_) => return None,
        None => hour,
    };
    parts.next().is_none().then(|| NaiveTime::from_hms_micro_opt(hour, minute, second, micros)).flatten()
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn read(format: Option<&str>, zone: &str, dates: &[&str]) -> Vec<String> {
        let read = Dates::of(format.map(|format| format.parse().unwrap()), zone.parse().unwrap(), dates.iter().copied());
        dates.iter().map(|date| read.read(date).map_or_else(str::to_owned, |at| at.to_string())).collect()
    }

    #[test]
    fn dates_are_read_as_the_file_proves_them() {
        for (format, zone, dates, at) in [
            (None, "UTC", vec!["12/1/2010 8:26"], vec![AMBIGUOUS]),
            (None, "UTC", vec!["12/1/2010 8:26", "12/13/2010 8:26"], vec!["2010-12-01T08:26:00Z", "2010-12-13T08:26:00Z"]),
            (None, "UTC", vec!["12/1/2010 8:26", "13.12.2010"], vec!["2010-01-12T08:26:00Z", "2010-12-13T00:00:00Z"]),
            (None, "UTC", vec!["12/1/2010", "12/13/2010", "13/12/2010"], vec![AMBIGUOUS; 3]),
            (None, "UTC", vec!["7/7/2010", "13/13/2010", "yesterday", ""], vec!["2010-07-07T00:00:00Z", "malformed_date", "malformed_date", "malformed_date"]),
            (
                None,
                "UTC",
                vec!["1/2/10", "2010-13-01", "2010-02-30", "2010-02-03T04:05:06.7"],
                vec!["malformed_date", "malformed_date", "malformed_date", "2010-02-03T04:05:06.700Z"],
            ),
            (
                None,
                "-05:00",
                vec!["2010-12-01 8:26:01 PM", "2010-12-01T08:26:00Z", "2010-12-01 0:26 am"],
                vec!["2010-12-02T01:26:01Z", "2010-12-01T08:26:00Z", "malformed_date"],
            ),
            (
                None,
                "Europe/London",
                vec!["2010-03-28 01:30", "2010-10-31 01:30", "2010-07-01 12:00"],
                vec!["malformed_date", "2010-10-31T00:30:00Z", "2010-07-01T11:00:00Z"],
            ),
            (Some("%d.%m.%y"), "UTC", vec!["1.12.10", "1.12.2010"], vec!["2010-12-01T00:00:00Z", "malformed_date"]),
            (Some("%Y%m%d %H%M %z"), "UTC", vec!["20101201 0826 +0100"], vec!["2010-12-01T07:26:00Z"]),
            (Some("rfc3339"), "UTC", vec!["12/13/2010"], vec!["malformed_date"]),
            (
                None,
                "UTC",
                vec!["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
                vec!["date_out_of_range", "date_out_of_range", "9999-12-31T23:59:59Z"],
            ),
        ] {
            assert_eq!(read(format, zone, &dates), at, "{dates:?}");
        }
        assert!(["%Q", "sometimes", ""].iter().all(|wrong| wrong.parse::<Format>().is_err()));
    }
}
