//! Samples of sellers.

use super::{Command, Contact, Details, Event};
use kernel::Personal;

/// A registration with every field.
pub fn details() -> Details {
    let contact = Contact {
        name: "Josiah Wedgwood".into(),
        email: "josiah@example.org".into(),
        phone: "+44 1782 000000".into(),
        mobile_phone: "+44 7700 900000".into(),
        cpf: "000.000.000-00".into(),
        cnpj: "00.000.000/0001-00".into(),
        address: "Etruria Works".into(),
        complement: "yard 2".into(),
        city: "Stoke-on-Trent".into(),
        state: "United Kingdom".into(),
        zip_code: "ST1 5NU".into(),
    };
    Details { contact: Personal::Clear(contact), company_name: "Wedgwood & Sons".into() }
}

/// One event of each kind.
pub fn events() -> Vec<Event> {
    vec![Event::Registered(details())]
}

/// One command of each kind.
pub fn commands() -> Vec<Command> {
    vec![Command::Register(details())]
}
