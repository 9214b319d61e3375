//! Sellers' parts of orders, and sellers.

use domain::sale::{Command, Event, Line, Refusal, Sale, sample};
use domain::seller::{self, Contact, Seller};
use kernel::Personal;

use crate::check;

fn sale(given: &[Event], command: Command, then: Result<Vec<Event>, Refusal>) {
    check::<Sale>("1-17-1", given, command, then);
}

#[test]
fn a_sale_follows_its_order() {
    let (opened, paid) = (Event::Opened { lines: vec![sample::line()] }, Event::Paid { lines: vec![sample::line()] });
    sale(&[], Command::Open { lines: vec![sample::line()] }, Ok(vec![opened.clone()]));
    sale(&[], Command::Close, Err(Refusal::Unknown));
    for (quantity, minor) in [(u32::MAX, i64::MAX), (u32::MAX, 1_000_000), (1, -1)] {
        let line = Line { quantity, unit_price: domain::Money::new(minor, domain::Currency::GBP), ..sample::line() };
        sale(&[], Command::Open { lines: vec![line] }, Err(Refusal::Amounts));
    }
    let placed = [opened];
    sale(&placed, Command::Pay { lines: vec![0, 4] }, Ok(vec![paid.clone()]));
    sale(&placed, Command::Close, Ok(vec![Event::Closed]));
    for early in [Command::Ship, Command::Deliver { line: 0 }, Command::Return { line: 0, kept: 1, settled: None }] {
        sale(&placed, early, Ok(vec![])); // nothing is shown, so nothing changes
    }
    let running = [placed.to_vec(), vec![paid]].concat();
    sale(&running, Command::Ship, Ok(vec![Event::Shipped]));
    sale(&running, Command::Close, Ok(vec![]));
    sale(&running, Command::Deliver { line: 0 }, Ok(vec![Event::Delivered { line: 0 }]));
    let kept = [running.clone(), vec![Event::Returned { line: 0, kept: 1, settled: None }]].concat();
    assert_eq!(crate::given::<Sale>(&kept).open[&0].quantity, 1);
    let settled = Some(domain::order::Settled { amount: 238, freight: 34, discount: 67 });
    let kept = crate::given::<Sale>(&[running.clone(), vec![Event::Returned { line: 0, kept: 2, settled }]].concat());
    let line = kept.in_progress().next().unwrap();
    assert_eq!((line.quantity, line.freight.minor, line.voucher.minor), (2, 34, 67)); // what is left of it, as its order has it
    for gone in [Event::Delivered { line: 0 }, Event::Returned { line: 0, kept: 0, settled: None }] {
        let after = [running.clone(), vec![gone]].concat();
        sale(&after, Command::Deliver { line: 0 }, Ok(vec![]));
        sale(&after, Command::Return { line: 0, kept: 0, settled: None }, Ok(vec![]));
    }
}

#[test]
fn a_seller_has_the_details_it_said_last() {
    let details = seller::sample::details;
    let register = |given: &[seller::Event], details: seller::Details, then| check::<Seller>("1", given, seller::Command::Register(details), then);
    let registered = seller::Event::Registered(details());
    register(&[], details(), Ok(vec![registered.clone()]));
    register(std::slice::from_ref(&registered), details(), Ok(vec![]));
    let other = seller::Details { company_name: "other".into(), ..details() };
    register(&[registered], other.clone(), Ok(vec![seller::Event::Registered(other)]));
    let named = |name: &str| seller::Details { contact: Personal::Clear(Contact { name: name.into(), ..Contact::default() }), company_name: String::new() };
    for wrong in [named(""), named(&"x".repeat(9_000)), seller::Details { company_name: "x".repeat(3_000), ..details() }] {
        register(&[], wrong, Err(seller::Refusal::Text));
    }
}
