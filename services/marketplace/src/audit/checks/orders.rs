//! Orders: all ended, none lost, each the sum of its lines, each line at a version that there was.

use std::collections::BTreeMap;

use super::super::breach::Findings;
use crate::audit::amount::Amount;
use crate::audit::rows::{Order, Snapshot};

pub fn check(snapshot: &Snapshot, found: &mut Findings) {
    for order in &snapshot.orders {
        let entity = format!("order {}", order.id);
        if !order.ended() {
            found.add("order-not-ended", &entity, format_args!("it is {}", order.status));
        }
        totals(order, &entity, found);
        returns(order, &entity, found);
    }
    numbers(snapshot, found);
    versions(snapshot, found);
}

fn totals(order: &Order, entity: &str, found: &mut Findings) {
    let mut sums = [Amount::default(); 3];
    for (_, line) in order.reserved().filter(|_| order.paid() || order.status == "payment-failed") {
        sums[0] += line.unit_price * line.quantity;
        sums[1] += line.freight_value;
        sums[2] += line.cost(line.quantity).discount;
    }
    let [items, freight, discounts] = sums;
    // What was never invoiced has no totals, and an expired order may have got as far as its invoice or not.
    if order.paid() || order.status == "payment-failed" || order.status == "refused" {
        found.same("order-total", entity, "the items' total", order.items_total, items);
        found.same("order-total", entity, "the freight's total", order.freight_total, freight);
        found.same("order-total", entity, "the discounts' total", order.discount_total, discounts);
        found.same("order-total", entity, "the total", order.total, items + freight - discounts);
    }
    if order.total < Amount::default() || order.refunded > order.total {
        found.add("order-negative", entity, format_args!("total {}, refunded {}", order.total, order.refunded));
    }
}

/// What was given back is the returned pieces' share of what was paid, line by line. What an older rule settled lies
/// between its own measure and that.
fn returns(order: &Order, entity: &str, found: &mut Findings) {
    for (at, line) in order.lines.iter().enumerate() {
        let most = if order.paid() && line.reserved() { line.quantity } else { 0 };
        if !(0..=most).contains(&line.returned) {
            found.add("order-returned", entity, format_args!("line {at}: {} of {most} pieces returned", line.returned));
        }
    }
    let (mut least, mut most) = (Amount::default(), Amount::default());
    for (at, line) in order.reserved().filter(|(_, line)| order.paid() && line.returned != 0) {
        let whole = line.cost(line.quantity).invoice;
        let older = whole - line.cost(line.kept()).invoice;
        let share = line.left(&order.currency).map_or(older, |left| whole - left.invoice);
        match line.refunded {
            Some(back) => {
                found.same("order-refunded", entity, &format!("line {at}: what was given back"), back, share);
                (least, most) = (least + share, most + share);
            }
            None => (least, most) = (least + share.min(older), most + share.max(older)),
        }
    }
    found.same("order-refunding", entity, "on its way back, with every process ended,", order.refunding, Amount::default());
    found.same("order-refunded", entity, "refunded", order.refunded, order.refunded.clamp(least, most));
}

/// A customer's orders are numbered from 1 without gaps, as many as the cart has sent.
fn numbers(snapshot: &Snapshot, found: &mut Findings) {
    let mut numbers: BTreeMap<u64, Vec<u64>> = snapshot.carts.keys().map(|customer| (*customer, vec![])).collect();
    for order in &snapshot.orders {
        match order.numbers() {
            Some((customer, number)) => numbers.entry(customer).or_default().push(number),
            None => found.add("order-number", format_args!("order {}", order.id), "an order is named <customer>-<number>"),
        }
    }
    for (customer, mut has) in numbers {
        has.sort_unstable();
        let sent = snapshot.carts.get(&customer).map_or(0, |cart| cart.orders);
        for number in 1..=sent.max(has.last().copied().unwrap_or_default()) {
            let entity = format!("order {customer}-{number}");
            match has.iter().filter(|known| **known == number).count() {
                0 => found.add("order-lost", entity, format_args!("the cart has sent {sent} orders, and this one is not there")),
                1 if number > sent => found.add("order-made", entity, format_args!("the cart has sent {sent} orders")),
                1 => {}
                times => found.add("order-doubled", entity, format_args!("it is there {times} times")),
            }
        }
        if let Some(order) = snapshot.carts.get(&customer).and_then(|cart| cart.sent.as_ref()) {
            found.add("cart-not-open", format_args!("cart {customer}"), format_args!("it waits for order {order}, and all orders have ended"));
        }
    }
}

/// Each line was priced with a version that there was; where versions are whole numbers, a customer never saw an older one again.
fn versions(snapshot: &Snapshot, found: &mut Findings) {
    let mut seen: BTreeMap<(u64, &str), (u64, &str)> = BTreeMap::new();
    let mut orders: Vec<(u64, u64, &Order)> =
        snapshot.orders.iter().filter_map(|order| order.numbers().map(|(customer, number)| (customer, number, order))).collect();
    orders.sort_by_key(|(customer, number, _)| (*customer, *number));
    for (customer, _, order) in orders {
        for (at, line) in order.lines.iter().enumerate() {
            // An agreed price holds without a version, of a product that the catalog has not published yet.
            let Some(product) = snapshot.products.get(&line.product) else { continue };
            let (entity, Some(version)) = (format!("order {}", order.id), &line.version) else { continue };
            match (version.parse::<u64>(), product.version.parse::<u64>()) {
                (Ok(number), Ok(current)) => {
                    if number > current {
                        let detail = format!("line {at} was priced with version {version} of product {}, which is at {current}", product.id);
                        found.add("price-version", &entity, detail);
                    }
                    let newest = seen.entry((customer, &line.product)).or_insert((number, &order.id));
                    if number < newest.0 {
                        let detail =
                            format!("line {at} was priced with version {version} of product {}, after order {} with {}", product.id, newest.1, newest.0);
                        found.add("price-version-back", &entity, detail);
                    }
                    *newest = (*newest).max((number, &order.id));
                }
                // The first revision is the registration: there has never been another version.
                _ if product.revision == 1 => {
                    found.same("price-version", &entity, &format!("line {at}: the version of product {}", product.id), version, &product.version);
                }
                _ => {}
            }
        }
    }
}
