//! What became of a file's lines, as far as the marketplace has said.

use std::collections::BTreeMap;

use domain::Currency;

use super::lines::{Line, Sale};
use super::placed::{Compared, Placed};
use super::refunds::{Refunds, Stands};
use super::work::Invoiced;

/// What became of a file's lines.
#[derive(Debug, Default)]
pub struct Became {
    /// each invoice with sales; one that is missing was not got to
    pub invoices: BTreeMap<String, Invoiced>,
    /// their lines held against their orders
    pub compared: BTreeMap<String, Compared>,
    /// cancellations
    pub refunds: Refunds,
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

    /// Where the sales stand in the file.
    pub fn stands(&self, lines: &[Line]) -> Stands {
        let mut stands = Stands::default();
        for (line, sale) in lines.iter().filter_map(|line| Some((line, line.sale.as_ref().ok()?))) {
            let place = self.compared.get(&sale.invoice).and_then(|compared| compared.lines.get(&line.number)?.as_ref().ok());
            match (place, self.invoices.get(&sale.invoice)) {
                // The cart may have made one line of two.
                (Some(at), Some(Ok(order))) => stands.accepted.entry((order.id.clone(), *at)).or_insert(line.number),
                _ => stands.refused.entry((sale.customer, sale.product)).or_insert(line.number),
            };
        }
        stands
    }

    /// The orders of the file.
    pub fn orders(&self) -> BTreeMap<String, Placed> {
        self.invoices.values().filter_map(|became| became.as_ref().ok()).map(|order| (order.id.clone(), order.clone())).collect()
    }
}
