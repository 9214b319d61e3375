//! Customers on the wire, and the one place for personal data (decision 9).

use domain::customer::{Card, Command, Customer, Details, Event, Person};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

shape! {
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

/// Personal data: clear, or sealed under a person's key.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Personal {
    /// readable by all
    Clear(PersonV1),
}

/// Reads both forms; what is sealed cannot be opened yet, and says so.
impl<'de> Deserialize<'de> for Personal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        enum Form {
            Clear(PersonV1),
            Sealed(serde::de::IgnoredAny),
        }
        match Form::deserialize(deserializer)? {
            Form::Clear(person) => Ok(Self::Clear(person)),
            Form::Sealed(_) => Err(D::Error::custom("personal data is sealed, and this version of the program holds no keys: update it")),
        }
    }
}

impl From<Person> for Personal {
    fn from(person: Person) -> Self {
        Self::Clear(person.into())
    }
}

impl From<Personal> for Person {
    fn from(Personal::Clear(person): Personal) -> Self {
        person.into()
    }
}

shape! {
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

codec! { Customer;
    events {
        Registered(details: CustomerV1) = "registered" 1;
    }
    commands {
        Register(details: CustomerV1) = "register" 1;
    }
}
