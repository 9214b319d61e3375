//! The marketplace's wire shapes, frozen per version. A released shape is never edited: a change is a new version beside
//! it, with an upcast, and golden records hold every one to its bytes.
//!
//! ```
//! # use {domain as marketplace_domain, schemas as daybook_schemas};
//! use marketplace_domain::product::{Product, sample};
//! use daybook_schemas::Codec;
//!
//! let registered = sample::events().remove(0);
//! let (kind, body) = Product::encode_event(&registered);
//! assert_eq!(kind.to_string(), "dev.daybook.product.registered.v1");
//! assert_eq!(Product::decode_event(&kind, &body), Ok(registered));
//! # let _linked = marketplace_schemas::Marketplace;
//! ```
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `marketplace`, `maybe`, `product`, `rating`, `replica`, `customer`, `seller`, `payment`, `cart`, `stock`, `order`, `shipment`, `sale`.

mod cart;
mod customer;
mod marketplace;
mod maybe;
mod order;
mod payment;
mod product;
mod rating;
mod replica;
mod sale;
mod seller;
mod shipment;
mod stock;

pub use marketplace::Marketplace;

use domain::{
    cart::Cart, customer::Customer, delivery::DeliveryRun, order::Order, payment::Payment, product::Product, rating::Rating, replica::ProductCopy, sale::Sale,
    seller::Seller, shipment::Shipment, stock::StockItem,
};
use schemas::Codec;
use schemas::wire::Shape;

/// Every shape there is, the worker's own included, for documents and their tests.
pub fn shapes() -> Vec<Shape> {
    [
        Product::shapes(),
        Rating::shapes(),
        Seller::shapes(),
        ProductCopy::shapes(),
        Customer::shapes(),
        Cart::shapes(),
        StockItem::shapes(),
        Order::shapes(),
        Payment::shapes(),
        Shipment::shapes(),
        DeliveryRun::shapes(),
        Sale::shapes(),
        schemas::wire::own_shapes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
