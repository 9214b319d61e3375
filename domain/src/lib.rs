//! What is true: each aggregate decides from its state alone and evolves by its events alone.
//! Nothing here performs IO, reads a clock or draws a random number.
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `ids`, `money`, `text`, `time`, `aggregate`, `charge`, `customer`, `product`, `payment`, `replica`, `seller`,
//! `cart`, `delivery`, `shipment`, `stock`, `order`, `sale`, `policies`.

mod aggregate;
pub mod cart;
mod charge;
pub mod customer;
pub mod delivery;
mod ids;
mod money;
pub mod order;
pub mod payment;
pub mod policies;
pub mod product;
pub mod replica;
pub mod sale;
pub mod seller;
pub mod shipment;
pub mod stock;
mod text;
mod time;

pub use aggregate::{Aggregate, Context, Heads, NoHeads, Origin, Policy, Routing};
pub use charge::Charge;
pub use ids::{CustomerId, ID_MAX, OrderId, PaymentId, ProductId, ProductRef, SaleId, SellerId, TransactionId, routing_key};
pub use iso_currency::Currency;
pub use money::{Money, MoneyError};
pub use time::Timestamp;
