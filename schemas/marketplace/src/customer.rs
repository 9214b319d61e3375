//! Customers on the wire, and the one place for personal data.

use crate::marketplace::Marketplace;
use domain::customer::{Card, Command, Customer, Details, Event, Person};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, de::Error};

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

/// Personal data as this version writes it: clear. It tells sealed data when it meets some, but holds no keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Personal<P = PersonV1> {
    /// readable by all
    Clear(P),
}

/// Personal data: clear, or sealed under a person's key.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Personal")]
enum Form<P> {
    /// readable by all
    Clear(P),
    /// readable by who holds the key; nobody does once the person is erased
    Sealed {
        /// the key's name
        key: String,
        /// the sealed fields
        data: String,
    },
}

impl<'de, P: Deserialize<'de>> Deserialize<'de> for Personal<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::<P>::deserialize(deserializer)? {
            Form::Clear(person) => Ok(Self::Clear(person)),
            Form::Sealed { key, data } => {
                let bytes = data.len();
                Err(D::Error::custom(format!("sealed personal data needs the key service: {bytes} bytes under key '{key}', and this version holds no keys")))
            }
        }
    }
}

/// Documents show both forms: shapes of version 1 will hold either.
impl<P: JsonSchema> JsonSchema for Personal<P> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Form::<P>::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Form::<P>::json_schema(generator)
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
