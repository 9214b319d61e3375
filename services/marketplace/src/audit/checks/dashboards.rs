//! Dashboards: totals are the sums of lines, and lines are what is in progress of the sellers' paid orders.

use std::collections::{BTreeMap, BTreeSet};

use super::super::breach::Findings;
use crate::audit::rows::{Dashboard, DashboardLine, Order, OrderLine, Snapshot, Totals};

/// Lines that a dashboard shows before it leaves any off.
const LINES_MIN: usize = 10_000;

/// Whether lines were left off since there were too many; a difference of counts in a shorter one is a fault.
pub fn cut_short(dashboard: &Dashboard) -> bool {
    dashboard.left_off > 0 && dashboard.lines.len() >= LINES_MIN
}

/// The lines that a dashboard must show: order and place -> what the order has there.
type Due<'s> = BTreeMap<(&'s str, usize), (&'s Order, &'s OrderLine)>;

/// What the totals of these lines must be, by currency.
pub fn totals_of(lines: &[DashboardLine]) -> BTreeMap<String, Totals> {
    let mut sums: BTreeMap<String, (Totals, BTreeSet<&str>)> = BTreeMap::new();
    for line in lines {
        let (sum, orders) = sums.entry(line.currency.clone()).or_default();
        orders.insert(&line.order);
        sum.lines += 1;
        sum.items += line.quantity;
        sum.amount += line.unit_price * line.quantity;
        sum.freight += line.freight_value;
        sum.discounts += line.discount;
        sum.invoice += line.invoice;
    }
    let done = |(currency, (sum, orders)): (String, (Totals, BTreeSet<&str>))| {
        let orders = i64::try_from(orders.len()).unwrap_or(i64::MAX);
        (currency.clone(), Totals { currency, orders, ..sum })
    };
    sums.into_iter().map(done).collect()
}

pub fn check(snapshot: &Snapshot, found: &mut Findings) {
    let orders = snapshot.orders_by_id();
    let mut due: BTreeMap<u64, Due<'_>> = BTreeMap::new();
    for order in orders.values().filter(|order| order.paid()) {
        for (at, line) in order.reserved().filter(|(_, line)| !line.delivered && line.kept() > 0) {
            if let Some(seller) = line.product.split_once('-').and_then(|(seller, _)| seller.parse().ok()) {
                due.entry(seller).or_default().insert((&order.id, at), (order, line));
            }
        }
    }
    let nothing = Dashboard::default();
    for seller in snapshot.dashboards.keys().chain(due.keys()).copied().collect::<BTreeSet<u64>>() {
        let (entity, dashboard) = (format!("dashboard {seller}"), snapshot.dashboards.get(&seller).unwrap_or(&nothing));
        totals(dashboard, &entity, found);
        let mut due = due.remove(&seller).unwrap_or_default();
        for line in &dashboard.lines {
            match due.remove(&(line.order.as_str(), line.line)) {
                Some((order, should)) => same(line, order, should, &entity, found),
                None => {
                    let order = orders.get(line.order.as_str()).map_or("not there", |order| order.status.as_str());
                    let detail = format!("order {} line {} is not in progress, or shown twice; the order is {order}", line.order, line.line);
                    found.add("dashboard-line", &entity, detail);
                }
            }
            let payment = snapshot.payments.get(&line.order).map_or("not there", |payment| payment.status.as_str());
            if line.status == "shipped" && payment != "captured" {
                found.add("dashboard-shipment-before-payment", &entity, format_args!("order {} is shown as shipped, and its payment is {payment}", line.order));
            }
        }
        let left_off = if cut_short(dashboard) { dashboard.left_off } else { 0 };
        if i64::try_from(due.len()).unwrap_or(i64::MAX) != left_off {
            let missing: Vec<String> = due.keys().take(5).map(|(order, at)| format!("order {order} line {at}")).collect();
            let detail = format!("{} lines in progress are missing and {left_off} are left off: {}", due.len(), missing.join(", "));
            found.add("dashboard-line-missing", &entity, detail);
        }
    }
}

fn totals(dashboard: &Dashboard, entity: &str, found: &mut Findings) {
    let shown: BTreeMap<String, Totals> = dashboard.totals.iter().map(|totals| (totals.currency.clone(), totals.clone())).collect();
    if cut_short(dashboard) {
        let lines: i64 = shown.values().map(|totals| totals.lines).sum();
        let all = i64::try_from(dashboard.lines.len()).unwrap_or(i64::MAX).saturating_add(dashboard.left_off);
        return found.same("dashboard-totals", entity, "the count of lines", lines, all);
    }
    let summed = totals_of(&dashboard.lines);
    for currency in shown.keys().chain(summed.keys()).collect::<BTreeSet<&String>>() {
        let (shown, summed) = (shown.get(currency).cloned().unwrap_or_default(), summed.get(currency).cloned().unwrap_or_default());
        let counts = |totals: &Totals| [("orders", totals.orders), ("lines", totals.lines), ("items", totals.items)];
        for ((what, is), (_, should)) in counts(&shown).into_iter().zip(counts(&summed)) {
            found.same("dashboard-totals", entity, &format!("the total of {what} in {currency}"), is, should);
        }
        let sums = |totals: &Totals| [("amount", totals.amount), ("freight", totals.freight), ("discounts", totals.discounts), ("invoice", totals.invoice)];
        for ((what, is), (_, should)) in sums(&shown).into_iter().zip(sums(&summed)) {
            found.same("dashboard-totals", entity, &format!("the total {what} in {currency}"), is, should);
        }
    }
}

fn same(line: &DashboardLine, order: &Order, should: &OrderLine, entity: &str, found: &mut Findings) {
    let what = |field: &str| format!("order {} line {}: its {field}", line.order, line.line);
    found.same("dashboard-line", entity, &what("product"), &line.product, &should.product);
    found.same("dashboard-line", entity, &what("currency"), &line.currency, &order.currency);
    found.same("dashboard-line", entity, &what("quantity"), line.quantity, should.kept());
    found.same("dashboard-line", entity, &what("price"), line.unit_price, should.unit_price);
    // What an older rule left of a line, its order does not tell.
    let told = should.returned == 0 || should.refunded.is_some();
    if let Some(left) = should.left(&order.currency).filter(|_| told) {
        for (field, is, should) in
            [("freight", line.freight_value, left.freight), ("discount", line.discount, left.discount), ("invoice", line.invoice, left.invoice)]
        {
            found.same("dashboard-line", entity, &what(field), is, should);
        }
    }
    let status = if order.shipment.is_some() { "shipped" } else { "paid" };
    found.same("dashboard-line", entity, &what("status"), line.status.as_str(), status);
}
