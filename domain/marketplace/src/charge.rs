//! What a line of an order costs, and what is left of that when pieces of it come back. The one place where price,
//! freight and discount meet: carts, orders, sales and every view of them ask here.

use serde::{Deserialize, Serialize};

use kernel::{Money, MoneyError};

/// What so many pieces of a line cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// how many pieces
    pub pieces: u32,
    /// their price
    pub items: Money,
    /// for shipping them
    pub freight: Money,
    /// the discount, never more than the price
    pub discount: Money,
}

impl Charge {
    /// A line's, before anything of it comes back. A voucher of more than the price is used up to it.
    pub fn of(pieces: u32, unit_price: Money, freight: Money, voucher: Money) -> Result<Self, MoneyError> {
        let items = unit_price.times(pieces)?;
        let discount = Money::new(voucher.minor.min(items.minor), voucher.currency);
        Ok(Self { pieces, items, freight, discount })
    }

    /// What is paid for them.
    pub fn total(&self) -> Result<Money, MoneyError> {
        self.items.plus(self.freight)?.minus(self.discount)
    }

    /// What is left when so many pieces are kept. What has come back by then is the pieces' share of all that was paid,
    /// freight and discount included, rounded down to the minor unit: so each refund is at least zero, the last piece
    /// takes what the rounding left, and all refunds add up to what was paid, in whichever parts and order they came.
    pub fn kept(&self, kept: u32) -> Result<Self, MoneyError> {
        let back = self.pieces.checked_sub(kept).ok_or(MoneyError::TooLarge)?;
        let left = |amount: Money| amount.minus(share(amount, back, self.pieces)?);
        let each = Money::new(if self.pieces == 0 { 0 } else { self.items.minor / i64::from(self.pieces) }, self.items.currency);
        let (items, freight) = (each.times(kept)?, left(self.freight)?);
        let discount = items.plus(freight)?.minus(left(self.total()?)?)?;
        Ok(Self { pieces: kept, items, freight, discount })
    }
}

/// `part` of `of` equal parts of an amount, rounded down: without a product that could be too large.
fn share(amount: Money, part: u32, of: u32) -> Result<Money, MoneyError> {
    let (part, of) = (i64::from(part), i64::from(of));
    if of == 0 {
        return Ok(Money::zero(amount.currency));
    }
    let whole = (amount.minor / of).checked_mul(part);
    let rest = (amount.minor % of).checked_mul(part).map(|rest| rest / of);
    let minor = whole.zip(rest).and_then(|(whole, rest)| whole.checked_add(rest)).ok_or(MoneyError::TooLarge)?;
    Ok(Money::new(minor, amount.currency))
}
