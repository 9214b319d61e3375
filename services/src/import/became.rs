//! What became of a file's lines, as far as the marketplace has said.

use std::collections::BTreeMap;

use domain::Currency;

use super::lines::{Line, Sale};
use super::placed::Compared;
use super::refunds::{Open, Refunded, Sold};
use super::work::Invoiced;

/// What became of a file's lines.
#[derive(Debug, Default)]
pub struct Became {
    /// each invoice with sales; one that is missing was not got to
    pub invoices: BTreeMap<String, Invoiced>,
    /// their lines held against their orders
    pub compared: BTreeMap<String, Compared>,
    /// cancellations by their line
    pub refunds: BTreeMap<u64, Refunded>,
    /// products that could not be registered, and why
    pub products: BTreeMap<u64, String>,
    /// customers that could not be registered, and why
    pub customers: BTreeMap<u64, String>,
    /// all was asked that was to be asked
    pub whole: bool,
}

impl Became {
    /// Holds each invoice's lines against its order.
    pub fn compare(&mut self, lines: &[Line], seller: u64, currency: Currency) {
        let mut sales: BTreeMap<&str, Vec<(u64, &Sale)>> = BTreeMap::new();
        for (line, sale) in lines.iter().filter_map(|line| Some((line, line.sale.as_ref().ok()?))) {
            sales.entry(&sale.invoice).or_default().push((line.number, sale));
        }
        let placed = self.invoices.iter().filter_map(|(invoice, became)| Some((invoice, became.as_ref().ok()?)));
        self.compared =
            placed.map(|(invoice, order)| (invoice.clone(), order.compare(sales.get(invoice.as_str()).map_or(&[], Vec::as_slice), seller, currency))).collect();
    }

    /// The accepted sales, which pieces can come back from.
    pub fn sold(&self, lines: &[Line]) -> Sold {
        let mut sold = Sold::new();
        for (line, sale) in lines.iter().filter_map(|line| Some((line, line.sale.as_ref().ok()?))) {
            let place = self.compared.get(&sale.invoice).and_then(|compared| compared.lines.get(&line.number)?.as_ref().ok());
            let (Some(at), Some(Ok(order))) = (place, self.invoices.get(&sale.invoice)) else { continue };
            let open = sold.entry((sale.customer, sale.product)).or_default();
            match open.iter_mut().find(|open| open.order == order.id && open.line == *at) {
                Some(open) => open.left += sale.quantity, // the cart made one line of both
                None => open.push(Open { order: order.id.clone(), line: *at, price: sale.price, left: sale.quantity, before: line.number }),
            }
        }
        sold
    }
}
