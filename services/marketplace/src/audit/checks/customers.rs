//! Customers' statistics agree with their orders.

use std::collections::BTreeMap;

use super::super::breach::Findings;
use crate::audit::rows::{Snapshot, Statistics};

pub fn check(snapshot: &Snapshot, found: &mut Findings) {
    let mut due: BTreeMap<u64, Statistics> = snapshot.statistics.keys().map(|customer| (*customer, Statistics::default())).collect();
    for order in &snapshot.orders {
        let Some((customer, _)) = order.numbers() else { continue };
        let sums = due.entry(customer).or_default();
        sums.orders += 1;
        sums.payments_succeeded += u64::from(order.paid());
        sums.payments_failed += u64::from(order.status == "payment-failed");
        sums.refunds += refunds(snapshot, &order.id);
        sums.deliveries += order.lines.iter().map(|line| u64::from(line.delivered)).sum::<u64>();
    }
    for (customer, should) in due {
        let is = snapshot.statistics.get(&customer).cloned().unwrap_or_default();
        // Refunds are counted in histories, which are read last.
        let told = snapshot.histories.contains_key("orders");
        let counts = |sums: &Statistics| {
            [
                ("orders", sums.orders),
                ("payments succeeded", sums.payments_succeeded),
                ("payments failed", sums.payments_failed),
                ("deliveries", sums.deliveries),
                ("refunds", if told { sums.refunds } else { 0 }),
            ]
        };
        for ((what, is), (_, should)) in counts(&is).into_iter().zip(counts(&should)) {
            found.same("customer-statistics", format_args!("customer {customer}"), what, is, should);
        }
    }
}

fn refunds(snapshot: &Snapshot, order: &str) -> u64 {
    let steps = snapshot.histories.get("orders").and_then(|histories| histories.get(order));
    steps.map_or(0, |steps| steps.iter().filter(|step| step.event == "refunded").count() as u64)
}
