//! Shipments, and the runs that deliver their packages.

use domain::cart::sample::product;
use domain::delivery::{self, DeliveryRun, PACKAGES_MAX};
use domain::order::sample::{ending, invoice, placed};
use domain::order::{self, Order};
use domain::shipment::{Command, Event, Refusal, Shipment, Status};
use domain::{Aggregate, payment};

use crate::{check, given};

fn created() -> Event {
    Event::Created { lines: vec![(0, product()), (2, product())] }
}

fn delivered(line: u32) -> Event {
    Event::Delivered { line, product: product() }
}

#[test]
fn a_package_ends_once() {
    let shipment = |given: &[Event], command, then| check::<Shipment>("17-1", given, command, then);
    shipment(&[], Command::Create { lines: vec![(0, product()), (2, product())] }, Ok(vec![created()]));
    shipment(&[created()], Command::Create { lines: vec![(0, product())] }, Ok(vec![]));
    shipment(&[], Command::Deliver { lines: vec![0] }, Err(Refusal::Unknown));
    shipment(&[created()], Command::Deliver { lines: vec![2, 0, 0, 7] }, Ok(vec![delivered(0), delivered(2)]));
    shipment(&[created(), delivered(0)], Command::Deliver { lines: vec![0] }, Ok(vec![]));
    shipment(&[created(), delivered(0)], Command::Cancel { lines: vec![0, 2] }, Ok(vec![Event::Cancelled { line: 2, product: product() }]));
}

#[test]
fn the_first_delivery_begins_it_and_the_last_concludes_it() {
    let mut history = vec![];
    let mut stands = |event: Event| {
        history.push(event);
        given::<Shipment>(&history).status()
    };
    assert_eq!(Shipment::default().status(), Status::New);
    assert_eq!(stands(created()), Status::Approved);
    assert_eq!(stands(delivered(2)), Status::InProgress);
    assert_eq!(stands(Event::Cancelled { line: 0, product: product() }), Status::Concluded);
}

#[test]
fn what_a_run_chose_stands() {
    let run = |given: &[delivery::Event], packages, then| check::<DeliveryRun>("t", given, delivery::Command::Choose { packages }, then);
    let chosen = delivery::sample::packages();
    run(&[], chosen.clone(), Ok(vec![delivery::Event::Chosen { packages: chosen.clone() }]));
    run(&[], vec![], Ok(vec![delivery::Event::Chosen { packages: vec![] }]));
    run(&[delivery::Event::Chosen { packages: vec![] }], chosen.clone(), Ok(vec![]));
    run(&[], vec![chosen[0].clone(); 11], Err(delivery::Refusal::Full));
    let lines = (0..=u32::try_from(PACKAGES_MAX).unwrap()).collect();
    run(&[], vec![delivery::Chosen { lines, ..chosen[0].clone() }], Err(delivery::Refusal::Full));
}

#[test]
fn an_order_records_how_its_shipment_goes() {
    use order::Event::{Invoiced, LineDelivered, LineReserved, Paid, Shipped};
    let paid = vec![placed(), LineReserved { line: 0 }, Invoiced { invoice: invoice(), means: payment::sample::means() }, Paid(ending())];
    let order = |given: &[order::Event], command, then| check::<Order>("17-1", given, command, then);
    let shipped = Shipped { lines: vec![(0, product())] };
    let there = LineDelivered { line: 0, product: product() };
    order(&paid, order::Command::RecordShipment, Ok(vec![shipped.clone()]));
    order(&paid[..3], order::Command::RecordShipment, Err(order::Refusal::NotAwaited { status: order::Status::Invoiced }));
    order(&paid, order::Command::RecordDelivery { line: 0 }, Err(order::Refusal::NotAwaited { status: order::Status::Paid }));
    let sent = [paid, vec![shipped]].concat();
    order(&sent, order::Command::RecordShipment, Ok(vec![]));
    order(&sent, order::Command::RecordDelivery { line: 0 }, Ok(vec![there.clone()]));
    order(&[sent.clone(), vec![there]].concat(), order::Command::RecordDelivery { line: 0 }, Ok(vec![]));
    assert!(given::<Order>(&sent).shipped && Order::STATE_VERSION > 1);
}
