//! Ids of the marketplace. What stands before the first `-` routes them.

use std::fmt;
use std::str::FromStr;

use kernel::{Number, Pair};
use serde::{Deserialize, Serialize};

/// The highest number that a caller may give to a customer, a seller or a product: the highest whole number that every
/// reader of JSON keeps exactly. What the log has from before there was a bound is read as it is.
pub const ID_MAX: u64 = (1 << 53) - 1;

macro_rules! number_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                text.parse().map(|Number(number)| Self(number))
            }
        }
    )+};
}
number_id! {
    /// A customer, numbered by the caller.
    CustomerId,
    /// A seller, numbered by the caller.
    SellerId,
    /// A product, numbered by the caller within its seller.
    ProductId,
}

macro_rules! pair_id {
    ($($(#[$doc:meta])* $name:ident { $(#[$a_doc:meta])* $a:ident: $a_type:ident, $(#[$b_doc:meta])* $b:ident: $b_type:ident }),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name {
            $(#[$a_doc])* pub $a: $a_type,
            $(#[$b_doc])* pub $b: $b_type,
        }
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}-{}", self.$a, self.$b)
            }
        }
        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let Pair(a, b) = text.parse()?;
                Ok(Self { $a: $a_type::from(a), $b: $b_type::from(b) })
            }
        }
    )+};
}
pair_id! {
    /// A product with its seller: `<seller>-<product>`. Also the id of its stock item.
    ProductRef { /// whose it is
        seller: SellerId, /// which one
        product: ProductId },
    /// An order: `<customer>-<running number>`. Its payment has the same id.
    OrderId { /// who ordered
        customer: CustomerId, /// the customer's how-manieth, from 1
        number: u64 },
}

impl ProductRef {
    /// Whether both its numbers are ones that may be given.
    pub fn is_in_range(&self) -> bool {
        self.seller.0 <= ID_MAX && self.product.0 <= ID_MAX
    }
}

/// A seller's part of an order: `<seller>-<order>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaleId {
    /// whose
    pub seller: SellerId,
    /// of which order
    pub order: OrderId,
}

impl FromStr for SaleId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('-').and_then(|(seller, order)| Some((seller.parse().ok()?, order.parse().ok()?)));
        let (seller, order) = parts.ok_or_else(|| format!("'{text}' is no id of the form <seller>-<customer>-<number>"))?;
        Ok(Self { seller, order })
    }
}

/// What a customer makes of a product: `<customer>-<product>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReviewId {
    /// whose
    pub customer: CustomerId,
    /// of what
    pub product: ProductRef,
}

impl fmt::Display for ReviewId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.customer, self.product)
    }
}

impl FromStr for ReviewId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('-').and_then(|(customer, product)| Some((customer.parse().ok()?, product.parse().ok()?)));
        let (customer, product) = parts.ok_or_else(|| format!("'{text}' is no id of the form <customer>-<seller>-<product>"))?;
        Ok(Self { customer, product })
    }
}

/// A run of deliveries, named by its caller: 1 to 100 of letters, digits and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(String);

impl TransactionId {
    /// The name.
    pub fn into_inner(self) -> String {
        self.0
    }
}

impl FromStr for TransactionId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if text.is_empty() || text.len() > 100 || !plain {
            return Err("a transaction id is 1 to 100 of letters, digits and '_'".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

/// A payment has its order's id.
pub type PaymentId = OrderId;

impl From<u64> for SellerId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}
impl From<u64> for ProductId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}
impl From<u64> for CustomerId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}
