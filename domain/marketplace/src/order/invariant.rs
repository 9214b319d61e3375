//! What holds of an order at all times: its invoice is its lines' sum, and no more comes back than was sold and paid.

use super::state::{Invoice, Line, Order, Reply};

impl Order {
    pub(super) fn adds_up(&self) -> Result<(), String> {
        let awaited = self.lines.iter().filter(|line| line.reply == Reply::Awaited).count();
        if awaited != self.awaited as usize {
            return Err(format!("it counts {} lines that stock has not answered for, there are {awaited}", self.awaited));
        }
        if let Some((at, line)) = self.lines.iter().enumerate().find(|(_, line)| line.returned > line.sold.quantity) {
            return Err(format!("of line {at} {} pieces came back, {} were sold", line.returned, line.sold.quantity));
        }
        let cost = |line: &Line| line.sold.charge().and_then(|charge| charge.total()).map(|total| i128::from(total.minor));
        let costs = self.lines.iter().filter(|line| line.reply == Reply::Reserved).map(cost).collect::<Result<Vec<_>, _>>();
        let due: i128 = costs.map_err(|why| why.to_string())?.iter().sum();
        self.invoice.as_ref().map_or(Ok(()), |invoice| invoice.adds_up_to(due))?;
        if let Some(refund) = self.refunds.iter().find(|refund| refund.amount.minor < 0) {
            return Err(format!("refund {} is of {} minor units", refund.reference, refund.amount.minor));
        }
        let refunded: i128 = self.refunds.iter().map(|refund| i128::from(refund.amount.minor)).sum();
        if refunded > due { Err(format!("its reserved lines cost {due} minor units, its refunds are of {refunded}")) } else { Ok(()) }
    }
}

impl Invoice {
    fn adds_up_to(&self, due: i128) -> Result<(), String> {
        let [items, freight, total] = [self.items, self.freight, self.total].map(|amount| i128::from(amount.minor));
        let discounts: i128 = self.discounts.iter().map(|amount| i128::from(amount.minor)).sum();
        if total != items + freight - discounts {
            return Err(format!("its invoice is of {total} minor units, {items} for items and {freight} for freight less {discounts} are not that"));
        }
        if total == due { Ok(()) } else { Err(format!("its invoice is of {total} minor units, its reserved lines cost {due}")) }
    }
}
