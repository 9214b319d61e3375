//! What a client was told is there, exactly once.

use std::collections::{BTreeMap, BTreeSet};

use super::super::breach::Findings;
use crate::audit::acknowledged::{Acknowledged, Checkout};
use crate::audit::rows::{Order, Snapshot};

pub fn check(snapshot: &Snapshot, told: &Acknowledged, found: &mut Findings) {
    let mut by_reference: BTreeMap<&str, Vec<&Order>> = BTreeMap::new();
    for order in &snapshot.orders {
        if let Some(reference) = &order.reference {
            by_reference.entry(reference).or_default().push(order);
        }
    }
    let orders = |reference: &str| by_reference.get(reference).map(Vec::as_slice).unwrap_or_default();
    for checkout in &told.checkouts {
        let entity = format!("checkout {}", checkout.reference);
        match orders(&checkout.reference) {
            [] => found.add("acknowledged-lost", entity, format_args!("order {} was acknowledged as {}, and is not there", checkout.order, checkout.ended)),
            [order] => same(checkout, order, &entity, found),
            several => found.add("acknowledged-doubled", entity, format_args!("it became {} orders, {} among them", several.len(), several[0].id)),
        }
    }
    for reference in &told.checkouts_in_doubt {
        if orders(reference).len() > 1 {
            found.add("acknowledged-doubled", format_args!("checkout {reference}"), format_args!("it became {} orders", orders(reference).len()));
        }
    }
    writes(snapshot, told, found);
    deliveries(snapshot, told, found);
}

fn same(checkout: &Checkout, order: &Order, entity: &str, found: &mut Findings) {
    found.same("acknowledged-other", entity, "its order", &order.id, &checkout.order);
    found.same("acknowledged-other", entity, "its end", &order.status, &checkout.ended);
    if let Some(line) = order.lines.iter().find(|line| line.version.is_none()) {
        found.add("price-version", format_args!("order {}", order.id), format_args!("product {} was priced with a version that is not recorded", line.product));
    }
    let Some(pieces) = checkout.pieces.as_ref().filter(|_| order.dropped.is_empty()) else { return };
    let mut has: BTreeMap<String, i64> = BTreeMap::new();
    for line in &order.lines {
        *has.entry(line.product.clone()).or_default() += line.quantity;
    }
    if has != *pieces {
        found.add("acknowledged-other", entity, format_args!("order {} has {has:?}, and {pieces:?} were put into its cart", order.id));
    }
}

/// Each write to a product made one revision of it: no answer's is missing, and there are no others.
fn writes(snapshot: &Snapshot, told: &Acknowledged, found: &mut Findings) {
    for (id, writes) in &told.products {
        let entity = format!("product {id}");
        let Some(product) = snapshot.products.get(id) else {
            found.add("acknowledged-lost", entity, "it was registered, and is not there");
            continue;
        };
        let distinct: BTreeSet<u64> = writes.revisions.iter().copied().collect();
        let least = distinct.len() as u64;
        if distinct.last().is_some_and(|last| *last > product.revision) || least > product.revision {
            found.add("acknowledged-lost", &entity, format_args!("{least} revisions were acknowledged, and it is at {}", product.revision));
        }
        if product.revision > least + writes.in_doubt {
            let doubt = writes.in_doubt;
            found.add(
                "acknowledged-doubled",
                &entity,
                format_args!("{least} revisions were acknowledged, {doubt} are in doubt, and it is at {}", product.revision),
            );
        }
    }
}

/// What a delivery chose is delivered, unless it was called back first.
fn deliveries(snapshot: &Snapshot, told: &Acknowledged, found: &mut Findings) {
    for id in &told.deliveries {
        let entity = format!("delivery {id}");
        let Some(delivery) = snapshot.deliveries.get(id) else {
            found.add("acknowledged-lost", entity, "it was acknowledged, and is not there");
            continue;
        };
        for chosen in &delivery.packages {
            let packages = snapshot.shipments.get(&chosen.order).map(|shipment| shipment.packages.as_slice()).unwrap_or_default();
            for line in &chosen.lines {
                let status = packages.iter().find(|package| package.line == *line).map_or("not there", |package| package.status.as_str());
                if !["delivered", "cancelled"].contains(&status) {
                    found.add("acknowledged-lost", &entity, format_args!("the package of order {} line {line} is {status}", chosen.order));
                }
            }
        }
    }
}
