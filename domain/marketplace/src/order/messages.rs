//! What is said to an order and by it: commands, events, refusals. Decides nothing.

use super::state::{Invoice, REFUNDS_MAX, Reply, Returned, Status};
use crate::ProductRef;
use crate::cart::{CheckedOut, LINES_MAX, REFERENCE_BYTES_MAX};
use crate::payment::{Decline, Means};
use crate::stock::Shortage;
use kernel::{Money, Origin, Timestamp};

/// What can be asked of an order. All but a refund and an operator's word comes from policies and from its own deadline.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Begin with a checkout.
    Place(CheckedOut),
    /// Stock has answered for a line.
    RecordReply {
        /// which, from 0
        line: u32,
        /// what it said; [`Reply::Awaited`] decides nothing
        reply: Reply,
    },
    /// The money is here.
    RecordCapture,
    /// The payment was refused.
    RecordDecline {
        /// why
        why: Decline,
    },
    /// Nothing was captured and nothing will be.
    RecordCancellation,
    /// The deadline has passed.
    Expire,
    /// An operator gives it up: as its deadline would, only sooner.
    Abandon,
    /// Take pieces back, after it was paid. From a client.
    Refund {
        /// The caller's own name for it; one that was asked for is not asked for again.
        reference: String,
        /// line, from 0, and how many pieces of it
        lines: Vec<(u32, u32)>,
    },
    /// The money was given back.
    RecordRefund {
        /// which of its refunds, from 1
        refund: u32,
    },
    /// Its packages are on their way.
    RecordShipment,
    /// A package is there.
    RecordDelivery {
        /// of which line, from 0
        line: u32,
    },
}

/// What can have happened to an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It began.
    Placed {
        /// with this
        checkout: CheckedOut,
        /// when, in business time
        placed_at: Timestamp,
        /// when it gives up, in log time
        deadline: Timestamp,
    },
    /// Stock promised a line's pieces.
    LineReserved {
        /// which, from 0
        line: u32,
    },
    /// Stock did not.
    LineShort {
        /// which, from 0
        line: u32,
        /// why
        why: Shortage,
    },
    /// It is priced, and payment is asked.
    Invoiced {
        /// what it adds up to
        invoice: Invoice,
        /// how it is paid
        means: Means,
    },
    /// Its deadline passed, and payment is asked to cancel.
    CancellationAsked,
    /// It ended paid.
    Paid(Ending),
    /// It ended with its payment refused.
    PaymentFailed {
        /// why
        why: Decline,
        /// the end
        ending: Ending,
    },
    /// It ended with nothing that could be reserved.
    Refused(Ending),
    /// It ended unpaid, at its deadline.
    Expired(Ending),
    /// Pieces are to come back: payment is asked for the money.
    RefundAsked {
        /// which of its refunds, from 1
        refund: u32,
        /// the caller's own name for it
        reference: String,
        /// what comes back
        lines: Vec<Returned>,
        /// what is given back for it
        amount: Money,
    },
    /// The money was given back, and the pieces are the seller's again.
    Refunded {
        /// which of its refunds, from 1
        refund: u32,
        /// what came back
        lines: Vec<Returned>,
        /// what was given back for it
        amount: Money,
    },
    /// Its packages are on their way.
    Shipped {
        /// place in the order, product
        lines: Vec<(u32, ProductRef)>,
    },
    /// A package is there.
    LineDelivered {
        /// of which line, from 0
        line: u32,
        /// what is in it
        product: ProductRef,
    },
}

/// What an order's end hands on.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// The lines that stock holds or may hold pieces for: place in the order, product.
    pub lines: Vec<(u32, ProductRef)>,
    /// whose command it answers
    pub origin: Origin,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// An order of that number stands, with other contents.
    #[error("the order was placed with other contents")]
    Placed,
    /// Nothing was placed under this number.
    #[error("no such order")]
    Unknown,
    /// The order has no such line.
    #[error("the order has {lines} lines, none with number {line}")]
    Line {
        /// the one asked for
        line: u32,
        /// how many it has
        lines: usize,
    },
    /// Amounts that no cart would send.
    #[error("an order has 1 to {LINES_MAX} lines of one currency, in a cart's bounds")]
    Amounts,
    /// The deadline is in the future.
    #[error("the deadline is {deadline}")]
    NotDue {
        /// when it is
        deadline: Timestamp,
    },
    /// Nothing can be returned of an order that was not paid.
    #[error("the order is {status:?}: only what was paid can be returned")]
    NotPaid {
        /// how far it is
        status: Status,
    },
    /// More pieces than the buyer has, or none.
    #[error("line {line}: {kept} pieces can be returned, not {asked}")]
    OverReturned {
        /// which, from 0
        line: u32,
        /// how many the buyer has
        kept: u32,
        /// how many were to come back
        asked: u32,
    },
    /// The same refund with other lines.
    #[error("refund '{reference}' was asked for with other lines")]
    ReferenceUsed {
        /// its name
        reference: String,
    },
    /// A refund's own bounds.
    #[error("a refund names 1 to {LINES_MAX} different lines under a reference of 1 to {REFERENCE_BYTES_MAX} bytes; an order has at most {REFUNDS_MAX}")]
    Refund,
    /// The order waits for something else.
    #[error("the order is {status:?}")]
    NotAwaited {
        /// how far it is
        status: Status,
    },
}
