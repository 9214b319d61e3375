//! Customers on the wire, and the one place for personal data.

use crate::marketplace::Marketplace;
use domain::customer::{Card, Command, Customer, Details, Event, Person};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

schemas::shape! {
    /// Names, addresses, e-mail and phone.
    #[serde(default)]
    #[derive(Default)]
    PersonV1 of Person {
        first_name: String,
        last_name: String,
        street: String,
        complement: String,
        city: String,
        state: String,
        zip_code: String,
        birth_date: String,
        email: String,
        phone: String,
    }
}

/// Who somebody is, clear or sealed.
pub type Personal<P = PersonV1> = schemas::wire::Personal<P>;

schemas::shape! {
    /// What is kept of a card.
    CardV1 of Card {
        brand: String,
        last4: String,
        token: String,
    }
}

/// A registration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CustomerV1 {
    /// who
    pub personal: Personal,
    /// how they pay, if they said
    #[serde(default)]
    pub card: Option<CardV1>,
    /// passed on unread
    #[serde(default)]
    pub data: String,
}

impl From<Details> for CustomerV1 {
    fn from(Details { person, card, data }: Details) -> Self {
        Self { personal: person.into(), card: card.map(Into::into), data }
    }
}

impl From<CustomerV1> for Details {
    fn from(CustomerV1 { personal, card, data }: CustomerV1) -> Self {
        Self { person: personal.into(), card: card.map(Into::into), data }
    }
}

schemas::codec! { Customer in Marketplace;
    events {
        Registered(details: CustomerV1) = "registered" 1;
    }
    commands {
        Register(details: CustomerV1) = "register" 1;
    }
}
