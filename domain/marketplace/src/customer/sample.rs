//! Samples of customers.

use super::{Card, Command, Details, Event, Person};
use kernel::Personal;

/// Somebody with every field.
pub fn person() -> Person {
    Person {
        first_name: "Ada".into(),
        last_name: "Lovelace".into(),
        street: "12 St James's Square".into(),
        complement: "top floor".into(),
        city: "London".into(),
        state: "United Kingdom".into(),
        zip_code: "SW1Y 4JH".into(),
        birth_date: "1815-12-10".into(),
        email: "ada@example.org".into(),
        phone: "+44 20 7946 0000".into(),
    }
}

/// A card that is taken.
pub fn card() -> Card {
    Card { brand: "visa".into(), last4: "1111".into(), token: "3f2a9c".into() }
}

/// Her registration.
pub fn details() -> Details {
    Details { person: Personal::Clear(person()), card: Some(card()), data: "prefers mail".into() }
}

/// One event of each kind.
pub fn events() -> Vec<Event> {
    vec![Event::Registered(details())]
}

/// One command of each kind.
pub fn commands() -> Vec<Command> {
    vec![Command::Register(details())]
}
