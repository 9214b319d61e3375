//! The marketplace's currency.

use domain::Currency;

/// The currency of amounts that name none.
pub const CURRENCY: Currency = Currency::USD;
