//! A seller: who sells. Registered once; its products stand for themselves.

pub mod sample;

use serde::{Deserialize, Serialize};

use crate::ID_MAX;
use crate::customer::{PERSON_BYTES_MAX, TEXT_BYTES_MAX};
use crate::text::json_bytes;
use kernel::{Aggregate, Context, Personal};

/// Personal data of a seller: all of it, and only here, so that it can be sealed as one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    /// the seller's name
    pub name: String,
    /// e-mail
    pub email: String,
    /// phone
    pub phone: String,
    /// mobile phone
    pub mobile_phone: String,
    /// the tax number of a person
    pub cpf: String,
    /// the tax number of a company
    pub cnpj: String,
    /// street and number
    pub address: String,
    /// flat, floor, care of
    pub complement: String,
    /// town
    pub city: String,
    /// state or country
    pub state: String,
    /// postal code
    pub zip_code: String,
}

/// What a seller says at registration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// how to reach it
    pub contact: Personal<Contact>,
    /// the company's name
    pub company_name: String,
}

/// A seller's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seller {
    /// who it is, once registered
    pub details: Option<Details>,
}

/// What can be asked of a seller.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Become one, or be one with these details instead of those of before.
    Register(Details),
}

/// What can have happened to a seller.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Is one, and these are its details from now on: all of them.
    Registered(Details),
}

/// Why not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A number too high.
    #[error("a seller's number is at most {ID_MAX}")]
    Id,
    /// A text too long, or no name.
    #[error("a seller has a name; its texts are at most {PERSON_BYTES_MAX} bytes together, the company's name {TEXT_BYTES_MAX}")]
    Text,
}

impl Contact {
    fn fits(&self) -> bool {
        let Self { name, email, phone, mobile_phone, cpf, cnpj, address, complement, city, state, zip_code } = self;
        let texts = [name, email, phone, mobile_phone, cpf, cnpj, address, complement, city, state, zip_code];
        !name.is_empty() && texts.iter().map(|text| json_bytes(text)).sum::<usize>() <= PERSON_BYTES_MAX
    }
}

impl Aggregate for Seller {
    const NAME: &'static str = "seller";
    const STATE_VERSION: u8 = 2;
    const OPENS: bool = true; // the same details again are no event
    const REFUSALS: &'static [&'static str] = &["id-out-of-range", "text-out-of-range"];
    type Id = crate::SellerId;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, Command::Register(details): Command, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        match &self.details {
            Some(now) if *now == details => Ok(vec![]),
            // Who was registered before there was a bound goes on.
            None if context.subject.parse().is_ok_and(|id: u64| id > ID_MAX) => Err(Refusal::Id),
            _ if !details.contact.fits(Contact::fits) || details.company_name.len() > TEXT_BYTES_MAX => Err(Refusal::Text),
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
