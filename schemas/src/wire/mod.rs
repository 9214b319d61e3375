//! Wire shapes, frozen per version. A released shape is never edited: a change is a new version beside it, with an
//! upcast, and golden records hold every one to its bytes.

#[macro_use]
mod table;
mod cart;
mod customer;
mod markers;
mod order;
mod payment;
mod product;
mod replica;
mod sale;
mod seller;
mod shape;
mod shared;
mod shipment;
mod stock;

pub use markers::{AcceptedV1, RefusedV1, ReplyV1, marker};
pub use shape::Shape;
pub use shared::{Code, Empty, Instant, List, Maybe, MoneyV1, PairId, text};

/// Every shape there is, for documents and their tests.
pub fn shapes() -> Vec<Shape> {
    [
        product::shapes(),
        seller::shapes(),
        replica::shapes(),
        customer::shapes(),
        cart::shapes(),
        stock::shapes(),
        order::shapes(),
        payment::shapes(),
        shipment::shapes(),
        shipment::delivery::shapes(),
        sale::shapes(),
        markers::shapes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
