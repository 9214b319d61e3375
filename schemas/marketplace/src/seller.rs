//! Sellers on the wire.

use crate::marketplace::Marketplace;
use domain::seller::{Command, Contact, Details, Event, Seller};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::customer::Personal;

schemas::shape! {
    /// Names, addresses, e-mail and phone of a seller.
    #[serde(default)]
    #[derive(Default)]
    ContactV1 of Contact {
        name: String,
        email: String,
        phone: String,
        mobile_phone: String,
        cpf: String,
        cnpj: String,
        address: String,
        complement: String,
        city: String,
        state: String,
        zip_code: String,
    }
}

/// A registration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SellerV1 {
    /// who
    pub personal: Personal<ContactV1>,
    /// the company's name
    #[serde(default)]
    pub company_name: String,
}

impl From<Details> for SellerV1 {
    fn from(Details { contact, company_name }: Details) -> Self {
        Self { personal: contact.into(), company_name }
    }
}

impl From<SellerV1> for Details {
    fn from(SellerV1 { personal, company_name }: SellerV1) -> Self {
        Self { contact: personal.into(), company_name }
    }
}

schemas::codec! { Seller in Marketplace;
    events {
        Registered(details: SellerV1) = "registered" 1;
    }
    commands {
        Register(details: SellerV1) = "register" 1;
    }
}
