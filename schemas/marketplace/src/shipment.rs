//! Shipments, and the runs that deliver their packages, on the wire.

use crate::marketplace::Marketplace;
use domain::shipment::{Command, Event, Shipment};
use domain::{OrderId, ProductRef, SellerId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::order::HeldLineV1;
use schemas::wire::PairId;
use schemas::wire::{List, text};

schemas::codec! { Shipment in Marketplace;
    events {
        Created { lines: List<HeldLineV1> } as ShipmentCreatedV1 = "created" 1;
        Delivered { line: u32, #[serde(with = "text")] #[schemars(with = "PairId")] product: ProductRef } as DeliveredV1 = "delivered" 1;
        Cancelled { line: u32, #[serde(with = "text")] #[schemars(with = "PairId")] product: ProductRef } as PackageCancelledV1 = "cancelled" 1;
    }
    commands {
        Create { lines: List<HeldLineV1> } as CreateV1 = "create" 1;
        Deliver { lines: Vec<u32> } as DeliverV1 = "deliver" 1;
        Cancel { lines: Vec<u32> } as CancelV1 = "cancel" 1;
    }
}

/// A seller's packages of one shipment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChosenPackagesV1 {
    /// of whose packages
    pub seller: u64,
    /// in which shipment
    #[serde(with = "text")]
    #[schemars(with = "PairId")]
    pub order: OrderId,
    /// of which of its lines
    pub lines: Vec<u32>,
}

impl From<domain::delivery::Chosen> for ChosenPackagesV1 {
    fn from(domain::delivery::Chosen { seller, order, lines }: domain::delivery::Chosen) -> Self {
        Self { seller: seller.0, order, lines }
    }
}

impl From<ChosenPackagesV1> for domain::delivery::Chosen {
    fn from(ChosenPackagesV1 { seller, order, lines }: ChosenPackagesV1) -> Self {
        Self { seller: SellerId(seller), order, lines }
    }
}

/// Runs of "update delivery".
pub mod delivery {
    use domain::delivery::{Command, DeliveryRun, Event};

    use super::ChosenPackagesV1;
    use schemas::wire::List;

    schemas::codec! { DeliveryRun in crate::Marketplace;
        events {
            Chosen { packages: List<ChosenPackagesV1> } as ChosenV1 = "chosen" 1;
        }
        commands {
            Choose { packages: List<ChosenPackagesV1> } as ChooseV1 = "choose" 1;
        }
    }
}
