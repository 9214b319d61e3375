//! The rules, one file for each kind of row. Each is a pure function of the snapshot; none reads, waits or repairs.

mod acknowledged;
mod customers;
mod dashboards;
mod histories;
mod money;
mod orders;
mod shipments;
mod stock;

use super::acknowledged::Acknowledged;
use super::amount::Amount;
use super::breach::{Breach, Findings};
use super::rows::Snapshot;

/// Every breach of a snapshot, sorted. Rules of histories look at those that were read.
pub fn all(snapshot: &Snapshot, told: &Acknowledged) -> Vec<Breach> {
    let mut found = Findings::default();
    stock::check(snapshot, &mut found);
    orders::check(snapshot, &mut found);
    money::check(snapshot, &mut found);
    shipments::check(snapshot, &mut found);
    dashboards::check(snapshot, &mut found);
    customers::check(snapshot, &mut found);
    histories::check(snapshot, &mut found);
    acknowledged::check(snapshot, told, &mut found);
    for letter in &snapshot.dead_letters {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        found.add("dead-letter", format_args!("dead letter {}", letter.id), format_args!("{}: {}", text(&letter.reason), text(&letter.detail)));
    }
    found.0.sort();
    found.0
}

/// What has not ended yet, for people; empty when all processes have.
pub fn pending(snapshot: &Snapshot) -> Vec<String> {
    let open = snapshot.orders.iter().filter(|order| !order.ended()).map(|order| format!("order {} is {}", order.id, order.status));
    let back = snapshot.orders.iter().filter(|order| order.refunding != Amount::default()).map(|order| format!("a refund of order {} is on its way", order.id));
    let sent = snapshot.carts.iter().filter(|(_, cart)| cart.sent.is_some()).map(|(customer, _)| format!("cart {customer} is not open again"));
    let held = snapshot.stock.values().filter(|item| item.reserved != 0).map(|item| format!("stock {} holds {} pieces", item.id, item.reserved));
    open.chain(back).chain(sent).chain(held).collect()
}

pub use dashboards::{cut_short, totals_of};
