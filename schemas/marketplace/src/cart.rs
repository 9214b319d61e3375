//! Carts on the wire. Lines are flat, with one currency each, so that 2,000 of them fit a record.

use crate::marketplace::Marketplace;
use domain::cart::{Cart, CheckedOut, Checkout, Command, Dropped, Event, Line, PricedLine};
use domain::{Currency, Money, OrderId, Origin, ProductRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::customer::Personal;
use crate::payment::MeansV1;
use schemas::wire::{Code, PairId};
use schemas::wire::{List, text};

/// What the customer wants. Amounts are minor units of `currency`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "fields are named as in the domain, which documents them")]
pub struct LineV1 {
    #[serde(with = "text")]
    #[schemars(with = "PairId")]
    pub product: ProductRef,
    pub name: String,
    pub quantity: u32,
    pub price: i64,
    pub freight: i64,
    pub voucher: i64,
    #[schemars(with = "Code")]
    pub currency: Currency,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default)]
    pub agreed: bool,
}

impl From<Line> for LineV1 {
    fn from(line: Line) -> Self {
        let (price, freight, voucher, currency) = (line.unit_price.minor, line.freight.minor, line.voucher.minor, line.unit_price.currency);
        Self { product: line.product, name: line.name, quantity: line.quantity, price, freight, voucher, currency, version: line.version, agreed: line.agreed }
    }
}

impl From<LineV1> for Line {
    fn from(wire: LineV1) -> Self {
        let money = |minor| Money::new(minor, wire.currency);
        let (unit_price, freight, voucher) = (money(wire.price), money(wire.freight), money(wire.voucher));
        Self { product: wire.product, name: wire.name, quantity: wire.quantity, unit_price, freight, voucher, version: wire.version, agreed: wire.agreed }
    }
}

/// A line at the price that holds. Amounts are minor units of `currency`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "fields are named as in the domain, which documents them")]
pub struct PricedLineV1 {
    #[serde(with = "text")]
    #[schemars(with = "PairId")]
    pub product: ProductRef,
    pub name: String,
    pub quantity: u32,
    pub price: i64,
    pub freight: i64,
    pub voucher: i64,
    #[schemars(with = "Code")]
    pub currency: Currency,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// the price the customer had last seen, where another holds now
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_price: Option<i64>,
}

impl From<PricedLine> for PricedLineV1 {
    fn from(line: PricedLine) -> Self {
        let (price, freight, voucher, currency) = (line.unit_price.minor, line.freight.minor, line.voucher.minor, line.unit_price.currency);
        let seen_price = line.seen_price.map(|seen| seen.minor);
        Self { product: line.product, name: line.name, quantity: line.quantity, price, freight, voucher, currency, version: line.version, seen_price }
    }
}

impl From<PricedLineV1> for PricedLine {
    fn from(wire: PricedLineV1) -> Self {
        let money = |minor| Money::new(minor, wire.currency);
        let (unit_price, freight, voucher, seen_price) = (money(wire.price), money(wire.freight), money(wire.voucher), wire.seen_price.map(money));
        Self { product: wire.product, version: wire.version, name: wire.name, quantity: wire.quantity, unit_price, freight, voucher, seen_price }
    }
}

schemas::cases! {
    /// Why a line did not come along.
    DroppedV1 of Dropped { Withdrawn, Currency }
}

/// A line that did not come along.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "fields are named as in the domain, which documents them")]
pub struct DroppedLineV1 {
    #[serde(with = "text")]
    #[schemars(with = "PairId")]
    pub product: ProductRef,
    pub why: DroppedV1,
}

impl From<(ProductRef, Dropped)> for DroppedLineV1 {
    fn from((product, why): (ProductRef, Dropped)) -> Self {
        Self { product, why: why.into() }
    }
}

impl From<DroppedLineV1> for (ProductRef, Dropped) {
    fn from(DroppedLineV1 { product, why }: DroppedLineV1) -> Self {
        (product, why.into())
    }
}

/// How and to whom a checkout goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "fields are named as in the domain, which documents them")]
pub struct CheckoutV1 {
    pub personal: Personal,
    pub means: MeansV1,
    #[serde(default)]
    pub reference: Option<String>,
}

impl From<Checkout> for CheckoutV1 {
    fn from(Checkout { buyer, means, reference }: Checkout) -> Self {
        Self { personal: buyer.into(), means: means.into(), reference }
    }
}

impl From<CheckoutV1> for Checkout {
    fn from(CheckoutV1 { personal, means, reference }: CheckoutV1) -> Self {
        Self { buyer: personal.into(), means: means.into(), reference }
    }
}

schemas::shape! {
    /// The client command at the root of a process, and where its answer is awaited.
    OriginV1 of Origin {
        command_id: String,
        #[serde(default)]
        reply_to: Option<String>,
    }
}

schemas::shape! {
    /// What an order begins with.
    CheckedOutV1 of CheckedOut {
        #[serde(with = "text")]
        #[schemars(with = "PairId")]
        order: OrderId,
        lines: List<PricedLineV1>,
        dropped: List<DroppedLineV1>,
        checkout: CheckoutV1,
        origin: OriginV1,
        /// the pieces come in with the order
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        brought: bool,
    }
}

schemas::codec! { Cart in Marketplace;
    events {
        Added { lines: List<LineV1>, #[serde(default)] reference: Option<String> } as AddedV1 = "added" 1;
        CheckedOut(sent: CheckedOutV1) = "checked-out" 1;
        Recorded(sale: CheckedOutV1) = "recorded" 1;
        Emptied = "emptied" 1;
        Reopened { #[serde(with = "text")] #[schemars(with = "PairId")] order: OrderId } as ReopenedV1 = "reopened" 1;
    }
    commands {
        Add { lines: List<LineV1>, #[serde(default)] reference: Option<String> } as AddV1 = "add" 1;
        CheckOut(checkout: CheckoutV1) = "check-out" 1;
        Record { lines: List<LineV1>, checkout: CheckoutV1 } as RecordV1 = "record" 1;
        Empty = "empty" 1;
        Reopen { #[serde(with = "text")] #[schemars(with = "PairId")] order: OrderId } as ReopenV1 = "reopen" 1;
    }
}
