//! Payments on the wire.

use crate::marketplace::Marketplace;
use domain::payment::{Command, Decline, Demand, Event, Means, Method, Payment};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::customer::CardV1;
use schemas::wire::{List, MoneyV1};

schemas::cases! {
    /// A way to pay.
    MethodV1 of Method { CreditCard, DebitCard, Boleto }
}

schemas::cases! {
    /// Why the provider said no.
    DeclineV1 of Decline { Limit, Card, NoCard }
}

/// How an order is paid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "fields are named as in the domain, which documents them")]
pub struct MeansV1 {
    pub method: MethodV1,
    #[serde(default)]
    pub card: Option<CardV1>,
    pub installments: u32,
}

impl From<Means> for MeansV1 {
    fn from(Means { method, card, installments }: Means) -> Self {
        Self { method: method.into(), card: card.map(Into::into), installments }
    }
}

impl From<MeansV1> for Means {
    fn from(MeansV1 { method, card, installments }: MeansV1) -> Self {
        Self { method: method.into(), card: card.map(Into::into), installments }
    }
}

schemas::shape! {
    /// What an order asks to be paid.
    DemandV1 of Demand {
        amount: MoneyV1,
        means: MeansV1,
        vouchers: List<MoneyV1>,
    }
}

schemas::codec! { Payment in Marketplace;
    events {
        Captured(demand: DemandV1) = "captured" 1;
        Refused { why: DeclineV1, amount: MoneyV1 } as PaymentRefusedV1 = "refused" 1;
        Cancelled = "cancelled" 1;
        Refunded { refund: u32, amount: MoneyV1 } as RefundedV1 = "refunded" 1;
    }
    commands {
        Capture(demand: DemandV1) = "capture" 1;
        Cancel = "cancel" 1;
        Refund { refund: u32, amount: MoneyV1 } as RefundV1 = "refund" 1;
    }
}
