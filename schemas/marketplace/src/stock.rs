//! Stock items on the wire. The most numerous records: kept small.

use crate::marketplace::Marketplace;
use domain::OrderId;
use domain::stock::{Command, Event, OrderLine, Shortage, StockItem};

use schemas::wire::PairId;
use schemas::wire::text;

schemas::cases! {
    /// Why pieces could not be promised.
    ShortageV1 of Shortage { UnknownProduct, OutOfStock, Withdrawn, VersionGone }
}

schemas::shape! {
    /// A line of an order.
    OrderLineV1 of OrderLine {
        #[serde(with = "text")]
        #[schemars(with = "PairId")]
        order: OrderId,
        line: u32,
    }
}

schemas::codec! { StockItem in Marketplace;
    events {
        Bound { version: String } as BoundV1 = "bound" 1;
        Withdrawn = "withdrawn" 1;
        Received { quantity: u64, reference: String } as ReceivedV1 = "received" 1;
        Reserved { of: OrderLineV1, quantity: u32 } as ReservedV1 = "reserved" 1;
        Brought { of: OrderLineV1, quantity: u32 } as BroughtV1 = "brought" 1;
        TakenBack { of: OrderLineV1, quantity: u32 } as TakenBackV1 = "taken-back" 1;
        Short { of: OrderLineV1, quantity: u32, why: ShortageV1 } as ShortV1 = "short" 1;
        Confirmed { of: OrderLineV1, quantity: u32 } as ConfirmedV1 = "confirmed" 1;
        Released { of: OrderLineV1, quantity: u32 } as ReleasedV1 = "released" 1;
        Returned { of: OrderLineV1, refund: u32, quantity: u32 } as ReturnedV1 = "returned" 1;
    }
    commands {
        Bind { version: String } as BindV1 = "bind" 1;
        Withdraw = "withdraw" 1;
        Receive { quantity: u64, reference: String } as ReceiveV1 = "receive" 1;
        Reserve {
            of: OrderLineV1,
            quantity: u32,
            #[serde(default)] version: Option<String>,
            #[serde(default, skip_serializing_if = "std::ops::Not::not")] brought: bool,
        } as ReserveV1 = "reserve" 1;
        Confirm { of: OrderLineV1 } as ConfirmV1 = "confirm" 1;
        Release { of: OrderLineV1 } as ReleaseV1 = "release" 1;
        Return { of: OrderLineV1, refund: u32, quantity: u32 } as ReturnV1 = "return" 1;
    }
}
