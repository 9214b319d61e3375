//! Stock: nothing oversold, nothing lost or made, bound to versions that exist.

use std::collections::{BTreeMap, BTreeSet};

use super::super::breach::Findings;
use crate::audit::rows::{Snapshot, StockItem};

pub fn check(snapshot: &Snapshot, found: &mut Findings) {
    let mut sold: BTreeMap<&str, i64> = BTreeMap::new();
    let mut returned: BTreeMap<&str, i64> = BTreeMap::new();
    for order in snapshot.orders.iter().filter(|order| order.paid()) {
        for (_, line) in order.reserved() {
            *sold.entry(&line.product).or_default() += line.kept();
            *returned.entry(&line.product).or_default() += line.returned;
        }
    }
    let nothing = StockItem::default();
    for id in snapshot.stock.keys().map(String::as_str).chain(sold.keys().copied()).collect::<BTreeSet<&str>>() {
        let (item, entity) = (snapshot.stock.get(id).unwrap_or(&nothing), format!("stock {id}"));
        let least = item.received.min(item.available).min(item.reserved).min(item.sold).min(item.returned);
        if least < 0 {
            let StockItem { received, available, reserved, sold, returned, .. } = item;
            found.add(
                "stock-negative",
                &entity,
                format_args!("received {received}, available {available}, reserved {reserved}, sold {sold}, returned {returned}"),
            );
        }
        if item.reserved + item.sold > item.received {
            let StockItem { received, reserved, sold, .. } = item;
            found.add("stock-oversold", &entity, format_args!("reserved {reserved} + sold {sold} are more than received {received}"));
        }
        found.same("stock-available", &entity, "available", item.available, item.received - item.reserved - item.sold);
        found.same("stock-reserved", &entity, "reserved, with every order ended,", item.reserved, 0);
        found.same("stock-sold", &entity, "sold", item.sold, sold.get(id).copied().unwrap_or_default());
        found.same("stock-returned", &entity, "returned", item.returned, returned.get(id).copied().unwrap_or_default());
        bound(snapshot, item, &entity, found);
    }
}

/// Stock names the version that the catalog has, and knows of a withdrawal.
fn bound(snapshot: &Snapshot, item: &StockItem, entity: &str, found: &mut Findings) {
    let shown = |version: Option<&String>| version.map_or("none".to_owned(), |version| format!("'{version}'"));
    let product = snapshot.products.get(&item.id);
    found.same("stock-version", entity, "the product's version", shown(item.version.as_ref()), shown(product.map(|product| &product.version)));
    found.same("stock-withdrawn", entity, "withdrawn", item.withdrawn, product.is_some_and(|product| product.withdrawn));
}
