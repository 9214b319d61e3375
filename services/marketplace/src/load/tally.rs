//! What is measured: latencies with all their percentiles, errors, refusals and repeats by kind, breaches that were seen.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::audit::acknowledged::Acknowledged;
use crate::audit::breach::{Breach, Findings};

/// Longest latency that is told apart from longer ones, in microseconds: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;
const _: () = assert!(LATENCY_US_MAX <= u32::MAX as u64);
/// Digits of a latency that are kept.
const DIGITS: u8 = 3;
/// Most breaches that are kept.
const BREACHES_MAX: usize = 1_000;

/// The error of what was begun and not answered before the load was over.
pub const UNANSWERED: &str = "unanswered";
/// The error of what could not even be begun.
pub const NOT_BEGUN: &str = "not-begun";

/// What is timed: the five transactions, and the two kinds of requests a customer's session is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// a customer fills a cart and checks out
    Session,
    /// one item goes into a cart
    Addition,
    /// a checkout, until its order has ended
    Checkout,
    /// a seller looks at what is in progress
    Dashboard,
    /// a seller changes a price
    Price,
    /// a seller replaces a product by a new version
    Replacement,
    /// oldest packages of ten sellers are delivered
    Delivery,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Session, Self::Addition, Self::Checkout, Self::Dashboard, Self::Price, Self::Replacement, Self::Delivery];

    /// As reports name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "customer-session",
            Self::Addition => "cart-addition",
            Self::Checkout => "checkout",
            Self::Dashboard => "seller-dashboard",
            Self::Price => "price-update",
            Self::Replacement => "product-replacement",
            Self::Delivery => "delivery-update",
        }
    }

    /// A transaction, not a part of one.
    pub const fn whole(self) -> bool {
        !matches!(self, Self::Addition | Self::Checkout)
    }
}

/// Counts by what was measured and a name.
pub type Counts = BTreeMap<(Measure, String), u64>;

/// Everything that is counted.
#[derive(Default)]
pub struct Sums {
    /// latencies in microseconds
    pub latencies: BTreeMap<Measure, Histogram<u64>>,
    /// what was not answered as it should be
    pub errors: Counts,
    /// the business's no, by its code
    pub refusals: Counts,
    /// why requests were sent once more, under the same id
    pub repeats: Counts,
    /// rows that were looked at during the load, by what for
    pub sampled: BTreeMap<&'static str, u64>,
    /// what the marketplace said is done
    pub acknowledged: Acknowledged,
    found: Findings,
}

/// Counted by all clients at once.
#[derive(Default)]
pub struct Tally(Mutex<Sums>);

impl Tally {
    /// It took so long, whatever came of it.
    pub fn took(&self, what: Measure, latency: Duration) {
        let microseconds = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, LATENCY_US_MAX);
        let mut sums = self.0.lock();
        if let Some(histogram) = sums.latencies.get_mut(&what) {
            histogram.saturating_record(microseconds);
        } else if let Ok(mut histogram) = Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS) {
            histogram.saturating_record(microseconds);
            sums.latencies.insert(what, histogram);
        }
    }

    /// It was not answered as it should be.
    pub fn error(&self, what: Measure, kind: &str) {
        *self.0.lock().errors.entry((what, kind.to_owned())).or_default() += 1;
    }

    /// The business said no.
    pub fn refused(&self, what: Measure, code: &str) {
        *self.0.lock().refusals.entry((what, code.to_owned())).or_default() += 1;
    }

    /// It was sent once more.
    pub fn repeated(&self, what: Measure, why: &str) {
        *self.0.lock().repeats.entry((what, why.to_owned())).or_default() += 1;
    }

    /// A row was looked at.
    pub fn sampled(&self, what: &'static str) {
        *self.0.lock().sampled.entry(what).or_default() += 1;
    }

    /// Something does not hold.
    pub fn breach(&self, found: impl FnOnce(&mut Findings)) {
        let mut sums = self.0.lock();
        if sums.found.0.len() < BREACHES_MAX {
            found(&mut sums.found);
        }
    }

    /// The marketplace said that something is done.
    pub fn acknowledged(&self, note: impl FnOnce(&mut Acknowledged)) {
        note(&mut self.0.lock().acknowledged);
    }

    /// Transactions that ended so far.
    pub fn transactions(&self) -> u64 {
        self.0.lock().latencies.iter().filter(|(what, _)| what.whole()).map(|(_, histogram)| histogram.len()).sum()
    }

    /// All counts, taken out, and the breaches.
    pub fn finish(&self) -> (Sums, Vec<Breach>) {
        let mut sums = std::mem::take(&mut *self.0.lock());
        let mut breaches = std::mem::take(&mut sums.found.0);
        breaches.sort();
        breaches.dedup();
        (sums, breaches)
    }
}
