//! Histories: whole, as long as the row's revision says, and in the order of the business.

use std::collections::BTreeMap;

use super::super::breach::Findings;
use crate::audit::rows::{Snapshot, Step};

/// Steps of an order by what their names begin with; none may come before a step of an earlier stage.
const STAGES: [(&str, usize); 11] = [
    ("placed", 0),
    ("line-reserved", 1),
    ("line-short", 1),
    ("invoiced", 2),
    ("cancellation", 3),
    ("paid", 4),
    ("payment-failed", 4),
    ("refused", 4),
    ("expired", 4),
    ("shipped", 5),
    ("line-delivered", 6),
];

pub fn check(snapshot: &Snapshot, found: &mut Findings) {
    let orders = snapshot.orders.iter().map(|order| (order.id.as_str(), order.revision)).collect();
    let payments = snapshot.payments.values().map(|payment| (payment.id.as_str(), payment.revision)).collect();
    let shipments = snapshot.shipments.values().map(|shipment| (shipment.id.as_str(), shipment.revision)).collect();
    for (route, noun, first, revisions) in
        [("orders", "order", "placed", orders), ("payments", "payment", "", payments), ("shipments", "shipment", "created", shipments)]
    {
        whole(snapshot, route, noun, first, &revisions, found);
    }
    for order in &snapshot.orders {
        let Some(steps) = snapshot.histories.get("orders").and_then(|histories| histories.get(&order.id)) else { continue };
        in_order(&format!("order {}", order.id), steps, order.paid(), found);
    }
}

/// Versions are 1, 2, 3 … up to the revision of the row.
fn whole(snapshot: &Snapshot, route: &str, noun: &str, first: &str, revisions: &BTreeMap<&str, u64>, found: &mut Findings) {
    let Some(histories) = snapshot.histories.get(route) else { return };
    for (id, revision) in revisions {
        let entity = format!("{noun} {id}");
        let steps = histories.get(*id).map(Vec::as_slice).unwrap_or_default();
        for (step, due) in steps.iter().zip(1..) {
            if step.version != due {
                found.add("history-gap", &entity, format_args!("version {due} is missing: {} ({}) stands in its place", step.version, step.event));
                break;
            }
        }
        found.same("history-length", &entity, "the last version of its history", steps.last().map_or(0, |step| step.version), *revision);
        if let Some(step) = steps.first().filter(|step| !first.is_empty() && step.event != first) {
            found.add("history-order", &entity, format_args!("it begins with '{}', not with '{first}'", step.event));
        }
    }
}

fn in_order(entity: &str, steps: &[Step], paid: bool, found: &mut Findings) {
    let stage = |event: &str| STAGES.iter().find(|(name, _)| event.starts_with(name)).map(|(_, stage)| *stage);
    let mut reached: (usize, &str) = (0, "");
    for step in steps {
        let Some(stage) = stage(&step.event) else { continue };
        if stage < reached.0 {
            found.add("history-order", entity, format_args!("'{}' (version {}) comes after '{}'", step.event, step.version, reached.1));
            return;
        }
        reached = reached.max((stage, &step.event));
    }
    let told = steps.iter().any(|step| step.event == "paid");
    found.same("history-order", entity, "paid in its history", told, paid);
    if !told && reached.0 > 4 {
        found.add("history-order", entity, format_args!("'{}' and never paid", reached.1));
    }
}
