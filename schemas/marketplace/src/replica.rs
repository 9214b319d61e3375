//! The cart service's product replicas on the wire.

use crate::marketplace::Marketplace;
use domain::replica::{Command, Event, Offer, ProductCopy};

use schemas::wire::MoneyV1;

schemas::shape! {
    /// What a product costs.
    OfferV1 of Offer {
        name: String,
        price: MoneyV1,
        freight: MoneyV1,
        version: String,
    }
}

schemas::codec! { ProductCopy in Marketplace;
    events {
        Copied(offer: OfferV1) = "copied" 1;
        PriceCopied(price: MoneyV1) = "price-copied" 1;
        WithdrawalCopied = "withdrawal-copied" 1;
    }
    commands {
        Copy(offer: OfferV1) = "copy" 1;
        CopyPrice(price: MoneyV1) = "copy-price" 1;
        CopyWithdrawal = "copy-withdrawal" 1;
    }
}
