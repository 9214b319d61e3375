//! What is true of a marketplace: its aggregates, and the policies between them.
//! Nothing here performs IO, reads a clock or draws a random number.
//!
//! ```
//! use marketplace_domain::product::{Command, Product, sample};
//! use marketplace_domain::testing::given;
//!
//! let registered = sample::events().remove(0);
//! let product = given::<Product>("42-1", [registered]).when(Command::Withdraw).events();
//! assert_eq!(product.len(), 1);
//! ```
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `ids`, `text`, `charge`, `customer`, `product`, `payment`, `rating`, `replica`, `seller`,
//! `cart`, `delivery`, `shipment`, `stock`, `order`, `sale`, `policies`.

pub mod cart;
mod charge;
pub mod customer;
pub mod delivery;
mod ids;
pub mod order;
pub mod payment;
pub mod policies;
pub mod product;
pub mod rating;
pub mod replica;
pub mod sale;
pub mod seller;
pub mod shipment;
pub mod stock;
mod text;

pub use charge::Charge;
pub use ids::{CustomerId, ID_MAX, OrderId, PaymentId, ProductId, ProductRef, ReviewId, SaleId, SellerId, TransactionId};
pub use kernel::{Aggregate, Context, Currency, Heads, Money, MoneyError, NoHeads, Origin, Policy, Routing, Source, Timestamp, routing_key, testing};
