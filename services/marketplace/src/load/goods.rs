//! What is traded in a load.

use std::ops::RangeInclusive;

/// Of all amounts.
pub const CURRENCY: &str = "USD";
/// For shipping a line.
pub const FREIGHT: &str = "1.50";
/// Prices, in cents: never nothing.
pub const PRICES: RangeInclusive<i64> = 100..=10_000;
