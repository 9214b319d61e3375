//! Sellers' parts of orders on the wire.

use crate::marketplace::Marketplace;
use crate::maybe::Maybe;
use domain::ProductRef;
use domain::sale::{Command, Event, Line, Sale};

use crate::order::SettledV1;
use schemas::wire::PairId;
use schemas::wire::{List, MoneyV1, text};

schemas::shape! {
    /// A line as the seller sees it.
    SaleLineV1 of Line {
        line: u32,
        #[serde(with = "text")]
        #[schemars(with = "PairId")]
        product: ProductRef,
        name: String,
        quantity: u32,
        unit_price: MoneyV1,
        freight: MoneyV1,
        voucher: MoneyV1,
    }
}

schemas::codec! { Sale in Marketplace;
    events {
        Opened { lines: List<SaleLineV1> } as OpenedV1 = "opened" 1;
        Paid { lines: List<SaleLineV1> } as SalePaidV1 = "paid" 1;
        Shipped = "shipped" 1;
        Delivered { line: u32 } as SaleDeliveredV1 = "delivered" 1;
        Returned {
            line: u32,
            kept: u32,
            #[serde(default, skip_serializing_if = "Maybe::is_none")] settled: Maybe<SettledV1>,
        } as SaleReturnedV1 = "returned" 1;
        Closed = "closed" 1;
    }
    commands {
        Open { lines: List<SaleLineV1> } as OpenV1 = "open" 1;
        Pay { lines: Vec<u32> } as PayV1 = "pay" 1;
        Ship = "ship" 1;
        Deliver { line: u32 } as DeliverLineV1 = "deliver" 1;
        Return {
            line: u32,
            kept: u32,
            #[serde(default, skip_serializing_if = "Maybe::is_none")] settled: Maybe<SettledV1>,
        } as ReturnLineV1 = "return" 1;
        Close = "close" 1;
    }
}
