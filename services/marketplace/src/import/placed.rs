//! An order of the marketplace as it is read back, and what of an invoice's lines is in it.

use std::collections::BTreeMap;

use domain::{Currency, Timestamp};
use serde_json::Value;

use super::lines::Sale;

/// Why a line of an invoice that has its order is not accepted: the order was made without it.
pub const NOT_IN_ORDER: &str = "not_in_order";

/// Why none of them is: the order is of another time, and the invoice's number was used before.
pub const OTHER_TIME: &str = "other_time";

/// An order, once it has ended.
#[derive(Clone, Debug, Default)]
pub struct Placed {
    /// its id
    pub id: String,
    /// how it ended
    pub status: String,
    /// when, in business time
    pub placed_at: Option<Timestamp>,
    /// of its amounts
    pub currency: String,
    /// its total
    pub total: String,
    /// something of it was given back, or is on its way
    pub refunds: bool,
    /// its lines, by their place
    pub lines: Vec<PlacedLine>,
    /// what was left behind: product, and why
    pub dropped: BTreeMap<String, String>,
}

/// A line of such an order.
#[derive(Clone, Debug)]
pub struct PlacedLine {
    /// `<seller>-<product>`
    pub product: String,
    /// the price of one
    pub price: String,
    /// how many
    pub quantity: u32,
    /// what became of it
    pub status: String,
    /// how many came back
    pub returned: u32,
}

/// What an order has that the file has not.
#[derive(Clone, Debug)]
pub struct Extra {
    /// whose
    pub order: String,
    /// of what
    pub product: String,
    /// at which price
    pub price: String,
    /// how many
    pub quantity: u32,
}

/// An invoice's lines held against its order.
#[derive(Debug, Default)]
pub struct Compared {
    /// line of the file -> place in the order, or why it is not there
    pub lines: BTreeMap<u64, Result<usize, String>>,
    /// what the order has besides
    pub extra: Vec<Extra>,
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl Placed {
    /// From the order's row; none as long as it has not ended.
    pub fn of(row: &Value) -> Option<Self> {
        let status = text(row, "status");
        if ["", "reserving", "invoiced", "cancelling"].contains(&status.as_str()) {
            return None;
        }
        let items = |field: &str| row.get(field).and_then(Value::as_array).into_iter().flatten();
        let count = |line: &Value, field: &str| line.get(field).and_then(Value::as_u64).and_then(|quantity| u32::try_from(quantity).ok()).unwrap_or_default();
        let line = |line: &Value| PlacedLine {
            product: text(line, "product"),
            price: text(line, "unit_price"),
            quantity: count(line, "quantity"),
            status: text(line, "status"),
            returned: count(line, "returned"),
        };
        let dropped = |pair: &Value| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_str()?.to_owned()));
        Some(Self {
            id: text(row, "id"),
            status,
            placed_at: text(row, "placed_at").parse().ok(),
            currency: text(row, "currency"),
            total: text(row, "total"),
            refunds: ["refunded", "refunding"].iter().any(|amount| text(row, amount).contains(|digit| matches!(digit, '1'..='9'))),
            lines: items("lines").map(line).collect(),
            dropped: items("dropped").filter_map(dropped).collect(),
        })
    }

    /// Whether the money for it is there.
    pub fn paid(&self) -> bool {
        self.status == "paid"
    }

    /// Whose it is.
    pub fn customer(&self) -> Option<u64> {
        self.id.rsplit_once('-')?.0.parse().ok()
    }

    /// The number of this line's product, if it is this seller's.
    pub fn product(&self, line: usize, seller: u64) -> Option<u64> {
        self.lines.get(line)?.product.strip_prefix(&format!("{seller}-"))?.parse().ok()
    }

    /// Whether it was placed when one of these sales was, to the second: it has the time of its first line, and a line of
    /// the file may have been refused since.
    pub fn placed_with(&self, sales: &[Sale]) -> bool {
        let second = |at: Timestamp| at.0.div_euclid(1_000_000);
        self.placed_at.is_some_and(|placed| sales.iter().any(|sale| [sale.at, sale.noted_at].map(second).contains(&second(placed))))
    }

    /// Whether anything in it, or left behind by it, is this seller's.
    pub fn sells_for(&self, seller: u64) -> bool {
        let prefix = format!("{seller}-");
        self.lines.iter().map(|line| &line.product).chain(self.dropped.keys()).any(|product| product.starts_with(&prefix))
    }

    /// Which of these lines of a seller's invoice it has, piece by piece, and what it has besides.
    pub fn compare(&self, sales: &[(u64, &Sale)], seller: u64, currency: Currency) -> Compared {
        let mut left: Vec<u32> = self.lines.iter().map(|line| if line.status == "reserved" { line.quantity } else { 0 }).collect();
        let mut lines = BTreeMap::new();
        for (number, sale) in sales {
            let (product, price) = (format!("{seller}-{}", sale.product), sale.price.to_string());
            let same = |line: &PlacedLine| line.product == product && line.price == price && self.currency == currency.code();
            let found = self.lines.iter().zip(&left).position(|(line, left)| same(line) && *left >= sale.quantity);
            let fate = match found {
                Some(at) => {
                    left[at] -= sale.quantity;
                    if self.paid() { Ok(at) } else { Err(format!("order_{}", self.status)) }
                }
                None => {
                    let short = self.lines.iter().find(|line| same(line) && line.status != "reserved").map(|line| line.status.as_str());
                    Err(short.or(self.dropped.get(&product).map(String::as_str)).unwrap_or(NOT_IN_ORDER).to_owned())
                }
            };
            lines.insert(*number, fate.map_err(|why| why.replace('-', "_")));
        }
        let extra =
            |(line, left): (&PlacedLine, u32)| Extra { order: self.id.clone(), product: line.product.clone(), price: line.price.clone(), quantity: left };
        let extra = self.lines.iter().zip(left).filter(|(_, left)| *left > 0 && self.paid()).map(extra).collect();
        Compared { lines, extra }
    }
}
