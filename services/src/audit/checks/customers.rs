//! Customers' statistics agree with their orders.

use std::collections::BTreeMap;

use super::Findings;
use crate::audit::rows::{Snapshot, Statistics};

pub fn check(snapshot: &Snapshot, found: &mut Findings) {
    let mut due: BTreeMap<u64, Statistics> = snapshot.statistics.keys().map(|customer| (*customer, Statistics::default())).collect();
    for order in &snapshot.orders {
        let Some((customer, _)) = order.numbers() else { continue };
        let sums = due.entry(customer).or_default();
        sums.orders += 1;
        sums.payments_succeeded += u64::from(order.paid());
        sums.payments_failed += u64::from(order.status == "payment-failed");
        sums.deliveries += order.lines.iter().map(|line| u64::from(line.delivered)).sum::<u64>();
    }
    for (customer, should) in due {
        let is = snapshot.statistics.get(&customer).cloned().unwrap_or_default();
        let counts = |sums: &Statistics| {
            [
                ("orders", sums.orders),
                ("payments succeeded", sums.payments_succeeded),
                ("payments failed", sums.payments_failed),
                ("deliveries", sums.deliveries),
            ]
        };
        for ((what, is), (_, should)) in counts(&is).into_iter().zip(counts(&should)) {
            found.same("customer-statistics", format_args!("customer {customer}"), what, is, should);
        }
    }
}
