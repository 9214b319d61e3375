//! A customer: who buys. Holds no more of a card than brand, last four digits and a token.

pub mod sample;

use serde::{Deserialize, Serialize};

use crate::ID_MAX;
use crate::text::json_bytes;
use kernel::{Aggregate, Context, Personal};

/// Longest text field, in bytes.
pub const TEXT_BYTES_MAX: usize = 2_000;
/// Most bytes of a person's texts together, as JSON writes them: an order carries them in one record with its lines.
pub const PERSON_BYTES_MAX: usize = 8_000;

/// Personal data: all of it, and only here, so that it can be sealed as one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// given name
    pub first_name: String,
    /// family name
    pub last_name: String,
    /// street and number
    pub street: String,
    /// flat, floor, care of
    pub complement: String,
    /// town
    pub city: String,
    /// state or country
    pub state: String,
    /// postal code
    pub zip_code: String,
    /// as the caller writes it
    pub birth_date: String,
    /// e-mail
    pub email: String,
    /// phone
    pub phone: String,
}

impl Card {
    /// Whether its texts are a card's: at most 100 bytes each, as JSON writes them.
    pub fn fits(&self) -> bool {
        [&self.brand, &self.last4, &self.token].iter().all(|text| json_bytes(text) <= 100)
    }
}

impl Person {
    /// Whether its texts are at most [`PERSON_BYTES_MAX`] bytes together, as JSON writes them.
    pub fn fits(&self) -> bool {
        let texts = [
            &self.first_name,
            &self.last_name,
            &self.street,
            &self.complement,
            &self.city,
            &self.state,
            &self.zip_code,
            &self.birth_date,
            &self.email,
            &self.phone,
        ];
        texts.iter().map(|text| json_bytes(text)).sum::<usize>() <= PERSON_BYTES_MAX
    }
}

/// What is left of a payment card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// the scheme, as the caller names it
    pub brand: String,
    /// last four digits
    pub last4: String,
    /// Stands for the number; the same number has the same token within an installation.
    pub token: String,
}

/// What a customer says at registration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// who
    pub person: Personal<Person>,
    /// how they pay, if they said
    pub card: Option<Card>,
    /// passed on unread
    pub data: String,
}

/// A customer's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Customer {
    /// who it is, once registered
    pub details: Option<Details>,
}

/// What can be asked of a customer.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Become one, or be one with these details instead of those of before.
    Register(Details),
}

/// What can have happened to a customer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Is one, and these are its details from now on: all of them.
    Registered(Details),
}

/// Why not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A number too high.
    #[error("a customer's number is at most {ID_MAX}")]
    Id,
    /// A text too long.
    #[error("a person's texts are at most {PERSON_BYTES_MAX} bytes together, any other text {TEXT_BYTES_MAX}")]
    Text,
}

impl Aggregate for Customer {
    const NAME: &'static str = "customer";
    const STATE_VERSION: u8 = 2;
    const OPENS: bool = true; // the same details again are no event
    const REFUSALS: &'static [&'static str] = &["id-out-of-range", "text-out-of-range"];
    type Id = crate::CustomerId;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, Command::Register(details): Command, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        match &self.details {
            Some(now) if *now == details => Ok(vec![]),
            // Who was registered before there was a bound goes on.
            None if context.subject.parse().is_ok_and(|id: u64| id > ID_MAX) => Err(Refusal::Id),
            _ if !details.person.fits(Person::fits) || details.data.len() > TEXT_BYTES_MAX || details.card.as_ref().is_some_and(|card| !card.fits()) => {
                Err(Refusal::Text)
            }
            _ => Ok(vec![Event::Registered(details)]),
        }
    }

    fn evolve(&mut self, Event::Registered(details): &Event) {
        self.details = Some(details.clone());
    }

    fn refusal_code(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Id => "id-out-of-range",
            Refusal::Text => "text-out-of-range",
        }
    }
}
