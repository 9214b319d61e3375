//! Products, replicas, customers.

use domain::customer::{self, Customer};
use domain::product::sample::{details, events, replacement};
use domain::product::{Command, Details, Event, PRICE_MINOR_MAX, Product, Refusal, TEXT_BYTES_MAX};
use domain::replica::{self, ProductCopy};
use domain::{Currency, Money};

use crate::check;

fn product(given: usize, command: Command, then: Result<Vec<Event>, Refusal>) {
    check::<Product>("1-2", &events()[..given], command, then);
}

#[test]
fn a_product_is_registered_once() {
    product(0, Command::Register(details()), Ok(vec![Event::Registered(details())]));
    product(1, Command::Register(details()), Ok(vec![]));
    product(1, Command::Register(Details { name: "OTHER".into(), ..details() }), Err(Refusal::Registered { version: "1".into() }));
    product(0, Command::Withdraw, Err(Refusal::Unknown));
}

#[test]
fn prices_have_bounds() {
    let priced = |minor| Details { price: Money::new(minor, Currency::GBP), ..details() };
    for minor in [0, 1, PRICE_MINOR_MAX] {
        product(0, Command::Register(priced(minor)), Ok(vec![Event::Registered(priced(minor))]));
    }
    for minor in [-1, PRICE_MINOR_MAX + 1, i64::MIN, i64::MAX] {
        product(0, Command::Register(priced(minor)), Err(Refusal::Price));
        product(1, Command::ChangePrice { price: Money::new(minor, Currency::GBP), version: None }, Err(Refusal::Price));
    }
    product(0, Command::Register(Details { freight: Money::new(50, Currency::USD), ..details() }), Err(Refusal::Price));
    product(1, Command::ChangePrice { price: Money::new(1, Currency::USD), version: None }, Err(Refusal::Currency { is: "GBP" }));
}

#[test]
fn texts_have_bounds() {
    for broken in [
        Details { name: String::new(), ..details() },
        Details { version: String::new(), ..details() },
        Details { description: "x".repeat(TEXT_BYTES_MAX + 1), ..details() },
    ] {
        product(0, Command::Register(broken), Err(Refusal::Text));
    }
}

#[test]
fn a_price_changes_for_the_version_it_names() {
    let price = Money::new(300, Currency::GBP);
    product(1, Command::ChangePrice { price, version: Some("1".into()) }, Ok(vec![Event::PriceChanged { price, version: "1".into() }]));
    product(1, Command::ChangePrice { price, version: None }, Ok(vec![Event::PriceChanged { price, version: "1".into() }]));
    product(1, Command::ChangePrice { price: details().price, version: None }, Ok(vec![]));
    product(1, Command::ChangePrice { price, version: Some("9".into()) }, Err(Refusal::OtherVersion { is: "1".into(), asked: "9".into() }));
}

#[test]
fn a_replacement_is_a_new_version() {
    product(1, Command::Replace(replacement()), Ok(vec![Event::Replaced(replacement())]));
    product(1, Command::Replace(details()), Ok(vec![]));
    product(1, Command::Replace(Details { name: "OTHER".into(), ..details() }), Err(Refusal::SameVersion { version: "1".into() }));
    product(1, Command::Replace(Details { price: Money::new(1, Currency::USD), ..replacement() }), Err(Refusal::Currency { is: "GBP" }));
}

#[test]
fn withdrawn_is_for_ever() {
    product(3, Command::Withdraw, Ok(vec![Event::Withdrawn { version: "2".into() }]));
    product(4, Command::Withdraw, Ok(vec![]));
    product(4, Command::Replace(details()), Err(Refusal::Withdrawn));
    product(4, Command::ChangePrice { price: details().price, version: None }, Err(Refusal::Withdrawn));
    product(4, Command::Register(replacement()), Err(Refusal::Registered { version: "2".into() }));
}

#[test]
fn a_replica_follows() {
    let offer = replica::sample::offer;
    let follow = |given: usize, command, then| check::<ProductCopy>("1-2", &replica::sample::events()[..given], command, then);
    follow(0, replica::Command::Copy(offer()), Ok(vec![replica::Event::Copied(offer())]));
    follow(1, replica::Command::Copy(offer()), Ok(vec![]));
    follow(0, replica::Command::CopyPrice(offer().price), Err(replica::Refusal::Unknown));
    follow(1, replica::Command::CopyPrice(offer().price), Ok(vec![]));
    follow(2, replica::Command::CopyPrice(offer().price), Ok(vec![replica::Event::PriceCopied(offer().price)]));
    follow(1, replica::Command::CopyWithdrawal, Ok(vec![replica::Event::WithdrawalCopied]));
    follow(3, replica::Command::CopyWithdrawal, Ok(vec![]));
}

#[test]
fn a_customer_registers_once() {
    let details = customer::sample::details;
    let register = |given: &[customer::Event], details, then| check::<Customer>("17", given, customer::Command::Register(details), then);
    register(&[], details(), Ok(vec![customer::Event::Registered(details())]));
    register(&customer::sample::events(), details(), Ok(vec![]));
    let other = customer::Details::default;
    register(&customer::sample::events(), other(), Ok(vec![customer::Event::Registered(other())]));
    register(&customer::sample::events(), customer::Details { data: "x".repeat(customer::TEXT_BYTES_MAX + 1), ..details() }, Err(customer::Refusal::Text));
    register(&[], customer::Details { data: "x".repeat(customer::TEXT_BYTES_MAX + 1), ..details() }, Err(customer::Refusal::Text));
}
