//! Orders on the wire.

use crate::marketplace::Marketplace;
use crate::maybe::Maybe;
use domain::order::{Command, Ending, Event, Invoice, Order, Reply, Returned, Settled};
use domain::stock::Shortage;
use domain::{ProductRef, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stock::ShortageV1;
use crate::cart::{CheckedOutV1, OriginV1};
use crate::payment::{DeclineV1, MeansV1};
use schemas::wire::{Instant, PairId};
use schemas::wire::{List, MoneyV1, text};

/// What stock has said of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplyV1 {
    /// nothing yet
    Awaited,
    /// the pieces are promised
    Reserved,
    /// they are not
    Short(ShortageV1),
}

impl From<Reply> for ReplyV1 {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Awaited => Self::Awaited,
            Reply::Reserved => Self::Reserved,
            Reply::Short(why) => Self::Short(why.into()),
        }
    }
}

impl From<ReplyV1> for Reply {
    fn from(wire: ReplyV1) -> Self {
        match wire {
            ReplyV1::Awaited => Self::Awaited,
            ReplyV1::Reserved => Self::Reserved,
            ReplyV1::Short(why) => Self::Short(Shortage::from(why)),
        }
    }
}

schemas::shape! {
    /// What an order adds up to.
    InvoiceV1 of Invoice {
        number: String,
        items: MoneyV1,
        freight: MoneyV1,
        discounts: List<MoneyV1>,
        total: MoneyV1,
    }
}

/// A line that stock holds or may hold pieces for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeldLineV1 {
    /// its place in the order, from 0
    pub line: u32,
    /// of what
    #[serde(with = "text")]
    #[schemars(with = "PairId")]
    pub product: ProductRef,
}

impl From<(u32, ProductRef)> for HeldLineV1 {
    fn from((line, product): (u32, ProductRef)) -> Self {
        Self { line, product }
    }
}

impl From<HeldLineV1> for (u32, ProductRef) {
    fn from(HeldLineV1 { line, product }: HeldLineV1) -> Self {
        (line, product)
    }
}

schemas::shape! {
    /// What pieces that come back come to, in minor units.
    #[derive(Copy)]
    SettledV1 of Settled {
        /// what is given back for them
        amount: i64,
        /// the freight of those that are kept
        freight: i64,
        /// the discount on those that are kept
        discount: i64,
    }
}

impl From<Maybe<SettledV1>> for Option<Settled> {
    fn from(wire: Maybe<SettledV1>) -> Self {
        wire.0.map(Settled::from)
    }
}

schemas::shape! {
    /// Pieces of a line that come back.
    ReturnedLineV1 of Returned {
        line: u32,
        #[serde(with = "text")]
        #[schemars(with = "PairId")]
        product: ProductRef,
        quantity: u32,
        kept: u32,
        #[serde(default, skip_serializing_if = "Maybe::is_none")]
        settled: Maybe<SettledV1>,
    }
}

/// Pieces of a line that are to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LineQuantityV1 {
    /// the line's place in the order, from 0
    pub line: u32,
    /// how many
    pub quantity: u32,
}

impl From<(u32, u32)> for LineQuantityV1 {
    fn from((line, quantity): (u32, u32)) -> Self {
        Self { line, quantity }
    }
}

impl From<LineQuantityV1> for (u32, u32) {
    fn from(LineQuantityV1 { line, quantity }: LineQuantityV1) -> Self {
        (line, quantity)
    }
}

schemas::shape! {
    /// What an order's end hands on.
    EndingV1 of Ending {
        lines: List<HeldLineV1>,
        origin: OriginV1,
    }
}

schemas::codec! { Order in Marketplace;
    events {
        Placed {
            checkout: CheckedOutV1,
            #[serde(with = "text")] #[schemars(with = "Instant")] placed_at: Timestamp,
            #[serde(with = "text")] #[schemars(with = "Instant")] deadline: Timestamp,
        } as PlacedV1 = "placed" 1;
        LineReserved { line: u32 } as LineReservedV1 = "line-reserved" 1;
        LineShort { line: u32, why: ShortageV1 } as LineShortV1 = "line-short" 1;
        Invoiced { invoice: InvoiceV1, means: MeansV1 } as InvoicedV1 = "invoiced" 1;
        CancellationAsked = "cancellation-asked" 1;
        Paid(ending: EndingV1) = "paid" 1;
        PaymentFailed { why: DeclineV1, ending: EndingV1 } as PaymentFailedV1 = "payment-failed" 1;
        Refused(ending: EndingV1) = "refused" 1;
        Expired(ending: EndingV1) = "expired" 1;
        RefundAsked { refund: u32, reference: String, lines: List<ReturnedLineV1>, amount: MoneyV1 } as RefundAskedV1 = "refund-asked" 1;
        Refunded { refund: u32, lines: List<ReturnedLineV1>, amount: MoneyV1 } as OrderRefundedV1 = "refunded" 1;
        Shipped { lines: List<HeldLineV1> } as ShippedV1 = "shipped" 1;
        LineDelivered { line: u32, #[serde(with = "text")] #[schemars(with = "PairId")] product: ProductRef } as LineDeliveredV1 = "line-delivered" 1;
    }
    commands {
        Place(checkout: CheckedOutV1) = "place" 1;
        RecordReply { line: u32, reply: ReplyV1 } as RecordReplyV1 = "record-reply" 1;
        RecordCapture = "record-capture" 1;
        RecordDecline { why: DeclineV1 } as RecordDeclineV1 = "record-decline" 1;
        RecordCancellation = "record-cancellation" 1;
        Expire = "expire" 1;
        Refund { reference: String, lines: List<LineQuantityV1> } as AskRefundV1 = "refund" 1;
        RecordRefund { refund: u32 } as RecordRefundV1 = "record-refund" 1;
        RecordShipment = "record-shipment" 1;
        RecordDelivery { line: u32 } as RecordDeliveryV1 = "record-delivery" 1;
        Abandon = "abandon" 1;
    }
}
