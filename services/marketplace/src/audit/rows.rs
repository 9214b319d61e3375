//! What the audit reads of the marketplace's rows, as the public routes show them. Holds no rule.
#![allow(missing_docs, reason = "the fields are those of the rows, documented where the rows are made")]

use std::collections::BTreeMap;

use domain::{Charge, Currency, Money};
use serde::{Deserialize, Serialize};

use super::amount::Amount;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Product {
    pub id: String,
    pub version: String,
    pub withdrawn: bool,
    pub revision: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StockItem {
    pub id: String,
    pub version: Option<String>,
    pub withdrawn: bool,
    pub received: i64,
    pub available: i64,
    pub reserved: i64,
    pub sold: i64,
    pub returned: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OrderLine {
    pub product: String,
    pub version: Option<String>,
    pub quantity: i64,
    pub unit_price: Amount,
    pub freight_value: Amount,
    pub voucher: Amount,
    pub status: String,
    pub returned: i64,
    #[serde(default)]
    pub refunded: Option<Amount>,
    pub delivered: bool,
}

/// What a line, or what is left of it, costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub freight: Amount,
    pub discount: Amount,
    pub invoice: Amount,
}

impl OrderLine {
    /// Stock promised it, so it is sold when the order is paid.
    pub fn reserved(&self) -> bool {
        self.status == "reserved"
    }

    /// Pieces that did not come back.
    pub fn kept(&self) -> i64 {
        self.quantity - self.returned
    }

    /// What so many pieces would cost if they were all that was ordered. Older refunds left that to those who kept them.
    pub fn cost(&self, pieces: i64) -> Cost {
        let (discount, freight) = if pieces == 0 { Default::default() } else { (self.voucher.min(self.unit_price * pieces), self.freight_value) };
        Cost { freight, discount, invoice: self.unit_price * pieces + freight - discount }
    }

    /// What is left of its cost, by the rule that orders go by; none of numbers that no order has.
    pub fn left(&self, currency: &str) -> Option<Cost> {
        let currency = Currency::from_code(currency)?;
        let money = |amount: Amount| Money::parse(&amount.to_string(), currency).ok();
        let pieces = |count: i64| u32::try_from(count).ok();
        let charge = Charge::of(pieces(self.quantity)?, money(self.unit_price)?, money(self.freight_value)?, money(self.voucher)?).ok()?;
        let left = charge.kept(pieces(self.kept())?).ok()?;
        let amount = |money: Money| Amount::parse(&money.to_string());
        Some(Cost { freight: amount(left.freight)?, discount: amount(left.discount)?, invoice: amount(left.total().ok()?)? })
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Order {
    pub id: String,
    pub status: String,
    pub reference: Option<String>,
    pub currency: String,
    pub items_total: Amount,
    pub freight_total: Amount,
    pub discount_total: Amount,
    pub total: Amount,
    pub refunded: Amount,
    pub refunding: Amount,
    pub shipment: Option<String>,
    pub lines: Vec<OrderLine>,
    pub dropped: Vec<serde_json::Value>,
    pub revision: u64,
}

impl Order {
    pub fn paid(&self) -> bool {
        self.status == "paid"
    }

    pub fn ended(&self) -> bool {
        ["paid", "payment-failed", "refused", "expired"].contains(&self.status.as_str())
    }

    /// The lines that were or are to be paid, with their place.
    pub fn reserved(&self) -> impl Iterator<Item = (usize, &OrderLine)> {
        self.lines.iter().enumerate().filter(|(_, line)| line.reserved())
    }

    /// The customer and the running number.
    pub fn numbers(&self) -> Option<(u64, u64)> {
        let (customer, number) = self.id.split_once('-')?;
        Some((customer.parse().ok()?, number.parse().ok()?))
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PaymentLine {
    pub method: String,
    pub amount: Amount,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Payment {
    pub id: String,
    pub status: String,
    pub currency: Option<String>,
    pub captured: Amount,
    pub refunded: Amount,
    pub lines: Vec<PaymentLine>,
    pub revision: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Package {
    pub line: usize,
    pub product: String,
    pub status: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Shipment {
    pub id: String,
    pub status: String,
    pub packages: Vec<Package>,
    pub revision: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DashboardLine {
    pub order: String,
    pub line: usize,
    pub product: String,
    pub quantity: i64,
    pub unit_price: Amount,
    pub freight_value: Amount,
    pub discount: Amount,
    pub invoice: Amount,
    pub currency: String,
    pub status: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub currency: String,
    pub orders: i64,
    pub lines: i64,
    pub items: i64,
    pub amount: Amount,
    pub freight: Amount,
    pub discounts: Amount,
    pub invoice: Amount,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Dashboard {
    pub seller: u64,
    pub totals: Vec<Totals>,
    pub lines: Vec<DashboardLine>,
    pub left_off: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Statistics {
    pub customer: u64,
    pub orders: u64,
    pub payments_succeeded: u64,
    pub payments_failed: u64,
    pub deliveries: u64,
    pub refunds: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cart {
    pub customer: String,
    pub sent: Option<String>,
    pub orders: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Step {
    pub version: u64,
    pub event: String,
    pub line: Option<u64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeliveredPackages {
    pub order: String,
    pub lines: Vec<usize>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Delivery {
    pub id: String,
    pub packages: Vec<DeliveredPackages>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeadLetter {
    pub id: String,
    pub reason: Option<String>,
    pub detail: Option<String>,
}

/// All that was read, at rest.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    pub products: BTreeMap<String, Product>,
    pub stock: BTreeMap<String, StockItem>,
    /// in the listing's order; an id may stand twice only by a fault
    pub orders: Vec<Order>,
    pub payments: BTreeMap<String, Payment>,
    pub shipments: BTreeMap<String, Shipment>,
    /// by seller
    pub dashboards: BTreeMap<u64, Dashboard>,
    /// by customer, of those who have orders
    pub statistics: BTreeMap<u64, Statistics>,
    /// by customer, of those who have orders
    pub carts: BTreeMap<u64, Cart>,
    /// those that a client was told of, by its transaction's id
    pub deliveries: BTreeMap<String, Delivery>,
    pub dead_letters: Vec<DeadLetter>,
    /// by route, such as `orders`, then by id; read when all has come to rest
    pub histories: BTreeMap<&'static str, BTreeMap<String, Vec<Step>>>,
}

impl Snapshot {
    /// The orders by id; of doubles the last.
    pub fn orders_by_id(&self) -> BTreeMap<&str, &Order> {
        self.orders.iter().map(|order| (order.id.as_str(), order)).collect()
    }
}
