//! Products on the wire.

use crate::marketplace::Marketplace;
use domain::product::{Command, Details, Event, Product};

use schemas::wire::MoneyV1;

schemas::shape! {
    /// What a seller says of a product.
    DetailsV1 of Details {
        name: String,
        sku: String,
        category: String,
        description: String,
        price: MoneyV1,
        freight: MoneyV1,
        status: String,
        version: String,
    }
}

schemas::codec! { Product in Marketplace;
    events {
        Registered(details: DetailsV1) = "registered" 1;
        PriceChanged { price: MoneyV1, version: String } as PriceChangedV1 = "price-changed" 1;
        Replaced(details: DetailsV1) = "replaced" 1;
        Withdrawn { version: String } as WithdrawnV1 = "withdrawn" 1;
    }
    commands {
        Register(details: DetailsV1) = "register" 1;
        ChangePrice { price: MoneyV1, #[serde(default)] version: Option<String> } as ChangePriceV1 = "change-price" 1;
        Replace(details: DetailsV1) = "replace" 1;
        Withdraw = "withdraw" 1;
    }
}
