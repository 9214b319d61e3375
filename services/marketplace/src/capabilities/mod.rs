//! The marketplace's capabilities, one small file each: what a service owns and follows, its views, its routes.
//! The list below is the only one there is.

use daybook::capability::Capability;

pub mod cart;
pub mod catalog;
pub mod customer;
pub mod ordering;
pub mod payment;
pub mod ratings;
pub mod rows;
pub mod seller;
pub mod sellers;
pub mod shipment;
pub mod statistics;
pub mod stock;

/// Every service of the marketplace.
pub fn all() -> Vec<Capability> {
    vec![
        catalog::capability(),
        customer::capability(),
        cart::capability(),
        stock::capability(),
        ordering::capability(),
        payment::capability(),
        shipment::capability(),
        seller::capability(),
        reviews::capability(),
    ]
}
