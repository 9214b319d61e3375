//! Shipments: one of each paid order and of no other, one package of each line, and the order knows how far it is.

use std::collections::BTreeMap;

use super::super::breach::Findings;
use crate::audit::rows::{Order, Shipment, Snapshot};

pub fn check(snapshot: &Snapshot, found: &mut Findings) {
    let orders = snapshot.orders_by_id();
    for order in orders.values() {
        let entity = format!("shipment {}", order.id);
        match snapshot.shipments.get(&order.id) {
            Some(shipment) if order.paid() => packages(order, shipment, &entity, found),
            Some(_) => found.add("shipment-before-payment", &entity, format_args!("its order is {}", order.status)),
            None if order.paid() => found.add("shipment-missing", &entity, "its order is paid"),
            None => {}
        }
        let shown = |status: Option<&str>| status.unwrap_or("none").to_owned();
        let is = snapshot.shipments.get(&order.id).map(|shipment| shipment.status.as_str());
        found.same("order-shipment", format_args!("order {}", order.id), "its shipment", shown(order.shipment.as_deref()), shown(is));
    }
    for shipment in snapshot.shipments.values() {
        let entity = format!("shipment {}", shipment.id);
        if !orders.contains_key(shipment.id.as_str()) {
            found.add("shipment-without-order", &entity, "there is no such order");
        }
        let payment = snapshot.payments.get(&shipment.id).map_or("not there", |payment| payment.status.as_str());
        if payment != "captured" {
            found.add("shipment-before-payment", &entity, format_args!("its payment is {payment}"));
        }
    }
}

fn packages(order: &Order, shipment: &Shipment, entity: &str, found: &mut Findings) {
    let packages: BTreeMap<usize, (&str, &str)> =
        shipment.packages.iter().map(|package| (package.line, (package.product.as_str(), package.status.as_str()))).collect();
    found.same("shipment-packages", entity, "the count of its packages", shipment.packages.len(), order.reserved().count());
    for (at, line) in order.reserved() {
        let Some((product, status)) = packages.get(&at) else {
            found.add("shipment-packages", entity, format_args!("line {at} has no package"));
            continue;
        };
        found.same("shipment-packages", entity, &format!("line {at}: the package's product"), *product, line.product.as_str());
        found.same("shipment-delivered", entity, &format!("line {at}: delivered, as the order has it,"), line.delivered, *status == "delivered");
        if *status == "cancelled" && line.kept() > 0 {
            found.add("shipment-cancelled", entity, format_args!("line {at}: its package was called back, and {} pieces were not returned", line.kept()));
        }
    }
    let with = |asked: &str| packages.values().filter(|(_, status)| *status == asked).count();
    let should = match (with("shipped"), with("delivered")) {
        (0, _) => "concluded",
        (_, 0) => "approved",
        _ => "in-progress",
    };
    found.same("shipment-status", entity, "its status", shipment.status.as_str(), should);
}
