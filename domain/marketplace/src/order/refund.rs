//! What happens to an order after it was paid: its packages arrive, and pieces come back for their money.
//! Never gives back more than was paid, nor takes back more than was sold.

use super::messages::{Event, Refusal};
use super::state::{Line, Order, REFUNDS_MAX, Refund, Reply, Returned, Settled, Status};
use crate::Charge;
use crate::cart::{LINES_MAX, REFERENCE_BYTES_MAX};
use crate::text::json_bytes;
use kernel::{Money, MoneyError};

impl Line {
    /// Pieces the buyer has.
    pub fn kept(&self) -> u32 {
        if self.reply == Reply::Reserved { self.sold.quantity.saturating_sub(self.returned) } else { 0 }
    }

    /// What is left of the line's cost when so many pieces are kept.
    fn charge(&self, kept: u32) -> Result<Charge, MoneyError> {
        self.left.map_or_else(|| self.sold.charge(), Ok)?.kept(kept)
    }

    /// What the older rule left of it: freight and discount whole for as long as any piece was kept.
    fn left_before(&self, kept: u32) -> Option<Charge> {
        let zero = Money::zero(self.sold.unit_price.currency);
        let (freight, voucher) = if kept == 0 { (zero, zero) } else { (self.sold.freight, self.sold.voucher) };
        Charge::of(kept, self.sold.unit_price, freight, voucher).ok()
    }

    /// What comes back for the last of so many pieces, and what the kept ones cost then.
    fn settle(&self, before: u32, kept: u32) -> Result<Settled, MoneyError> {
        let after = self.charge(kept)?;
        let amount = self.charge(before)?.total()?.minus(after.total()?)?;
        Ok(Settled { amount: amount.minor, freight: after.freight.minor, discount: after.discount.minor })
    }
}

impl Order {
    fn line(&self, line: u32) -> Result<&Line, Refusal> {
        usize::try_from(line).ok().and_then(|at| self.lines.get(at)).ok_or(Refusal::Line { line, lines: self.lines.len() })
    }

    pub(super) fn ask_refund(&self, reference: String, lines: &[(u32, u32)]) -> Result<Vec<Event>, Refusal> {
        if self.status != Status::Paid {
            return Err(Refusal::NotPaid { status: self.status });
        }
        if let Some(asked) = self.refunds.iter().find(|refund| refund.reference == reference) {
            let same = asked.lines.iter().map(|returned| (returned.line, returned.quantity)).eq(lines.iter().copied());
            return if same { Ok(vec![]) } else { Err(Refusal::ReferenceUsed { reference }) };
        }
        let distinct: std::collections::BTreeSet<u32> = lines.iter().map(|(line, _)| *line).collect();
        let named = !reference.is_empty() && json_bytes(&reference) <= REFERENCE_BYTES_MAX;
        if lines.is_empty() || lines.len() > LINES_MAX || distinct.len() != lines.len() || !named || self.refunds.len() >= REFUNDS_MAX {
            return Err(Refusal::Refund);
        }
        let currency = self.currency().ok_or(Refusal::Amounts)?;
        let (mut returned, mut amount) = (Vec::with_capacity(lines.len()), Money::zero(currency));
        for (number, quantity) in lines {
            let line = self.line(*number)?;
            let before = line.kept();
            if *quantity == 0 || *quantity > before {
                return Err(Refusal::OverReturned { line: *number, kept: before, asked: *quantity });
            }
            let kept = before - quantity; // no more than there are
            let settled = line.settle(before, kept).map_err(|_| Refusal::Amounts)?;
            amount = amount.plus(Money::new(settled.amount, currency)).map_err(|_| Refusal::Amounts)?;
            returned.push(Returned { line: *number, product: line.sold.product, quantity: *quantity, kept, settled: Some(settled) });
        }
        let refund = u32::try_from(self.refunds.len() + 1).unwrap_or(u32::MAX);
        Ok(vec![Event::RefundAsked { refund, reference, lines: returned, amount }])
    }

    pub(super) fn record_refund(&self, refund: u32) -> Result<Vec<Event>, Refusal> {
        match usize::try_from(refund).ok().and_then(|refund| self.refunds.get(refund.checked_sub(1)?)) {
            Some(asked) if !asked.done => Ok(vec![Event::Refunded { refund, lines: asked.lines.clone(), amount: asked.amount }]),
            Some(_) => Ok(vec![]),
            None => Err(Refusal::NotAwaited { status: self.status }),
        }
    }

    pub(super) fn record_shipment(&self) -> Result<Vec<Event>, Refusal> {
        match self.status {
            Status::Paid if self.shipped => Ok(vec![]),
            Status::Paid => Ok(vec![Event::Shipped { lines: self.ending().lines }]),
            status => Err(Refusal::NotAwaited { status }),
        }
    }

    pub(super) fn record_delivery(&self, number: u32) -> Result<Vec<Event>, Refusal> {
        let line = self.line(number)?;
        if !self.shipped {
            return Err(Refusal::NotAwaited { status: self.status });
        }
        Ok(if line.delivered { vec![] } else { vec![Event::LineDelivered { line: number, product: line.sold.product }] })
    }

    pub(super) fn refund_asked(&mut self, reference: &str, lines: &[Returned], amount: Money) {
        for returned in lines {
            if let Some(line) = usize::try_from(returned.line).ok().and_then(|at| self.lines.get_mut(at)) {
                line.returned = line.sold.quantity.saturating_sub(returned.kept);
                if returned.settled.is_none() {
                    line.left = line.left_before(returned.kept);
                }
            }
        }
        self.refunds.push(Refund { reference: reference.to_owned(), lines: lines.to_vec(), amount, done: false });
    }

    pub(super) fn refunded(&mut self, refund: u32) {
        if let Some(asked) = usize::try_from(refund).ok().and_then(|refund| self.refunds.get_mut(refund.checked_sub(1)?)) {
            asked.done = true;
        }
    }

    pub(super) fn delivered(&mut self, line: u32) {
        if let Some(line) = usize::try_from(line).ok().and_then(|at| self.lines.get_mut(at)) {
            line.delivered = true;
        }
    }
}
