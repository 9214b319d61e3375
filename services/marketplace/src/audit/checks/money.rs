//! Money: what was captured less what was given back is what paid orders cost, order by order and in each currency.

use std::collections::BTreeMap;

use super::super::breach::Findings;
use crate::audit::amount::Amount;
use crate::audit::rows::{Order, Payment, Snapshot};

pub fn check(snapshot: &Snapshot, found: &mut Findings) {
    let orders = snapshot.orders_by_id();
    for order in orders.values().filter(|order| order.paid() || order.status == "payment-failed") {
        match snapshot.payments.get(&order.id) {
            Some(payment) => paid(order, payment, found),
            None => found.add("payment-missing", format_args!("payment {}", order.id), format_args!("its order is {}", order.status)),
        }
    }
    for payment in snapshot.payments.values() {
        let (entity, captured) = (format!("payment {}", payment.id), payment.status == "captured");
        match orders.get(payment.id.as_str()) {
            None => found.add("payment-without-order", &entity, "there is no such order"),
            Some(order) if captured != order.paid() => {
                found.add("payment-status", &entity, format_args!("it is {}, and its order is {}", payment.status, order.status));
            }
            Some(_) => {}
        }
        if payment.captured < Amount::default() || payment.refunded < Amount::default() || payment.refunded > payment.captured {
            found.add("payment-negative", &entity, format_args!("captured {}, refunded {}", payment.captured, payment.refunded));
        }
        lines(payment, &entity, found);
    }
    totals(snapshot, found);
}

fn paid(order: &Order, payment: &Payment, found: &mut Findings) {
    let entity = format!("payment {}", order.id);
    let (captured, refunded) = if order.paid() { (order.total, order.refunded) } else { (Amount::default(), Amount::default()) };
    found.same("payment-captured", &entity, "captured", payment.captured, captured);
    found.same("payment-refunded", &entity, "refunded", payment.refunded, refunded);
    if order.paid() {
        found.same("payment-currency", &entity, "its currency", payment.currency.as_deref().unwrap_or("none"), &order.currency);
        let vouchers = payment.lines.iter().filter(|line| line.method == "voucher").map(|line| line.amount).sum();
        found.same("payment-lines", &entity, "the sum of voucher lines", vouchers, order.discount_total);
    }
}

fn lines(payment: &Payment, entity: &str, found: &mut Findings) {
    if payment.status == "captured" {
        let sum = payment.lines.iter().filter(|line| line.method != "voucher").map(|line| line.amount).sum();
        found.same("payment-lines", entity, "the sum of its lines", sum, payment.captured);
    }
}

fn totals(snapshot: &Snapshot, found: &mut Findings) {
    let mut sums: BTreeMap<&str, (Amount, Amount)> = BTreeMap::new();
    for payment in snapshot.payments.values().filter(|payment| payment.status == "captured") {
        sums.entry(payment.currency.as_deref().unwrap_or("none")).or_default().0 += payment.captured - payment.refunded;
    }
    for order in snapshot.orders.iter().filter(|order| order.paid()) {
        sums.entry(&order.currency).or_default().1 += order.total - order.refunded;
    }
    for (currency, (kept, invoiced)) in sums {
        found.same("money", format_args!("currency {currency}"), "captured - refunded", kept, invoiced);
    }
}
