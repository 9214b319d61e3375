//! What is checked while the load runs, on what its transactions read: rules that hold at every moment, not only at rest.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use super::caller::CommandEnd;
use super::state::{Customer, LoadState};
use super::tally::Measure;
use crate::audit::checks::{cut_short, totals_of};
use crate::audit::rows::{Dashboard, Totals};

/// Lines of a dashboard whose payments are read.
const LINES: usize = 2;
/// How long the view of payments may lag behind the dashboard's.
const LAG: Duration = Duration::from_secs(10);
/// Pause between two looks at a payment.
const LOOK: Duration = Duration::from_millis(50);

/// One answer is one snapshot: totals are the sums of lines. And what is shown as shipped is paid.
pub async fn dashboard(state: &LoadState, dashboard: &Dashboard) {
    state.tally.sampled("dashboards");
    let shown: BTreeMap<String, Totals> = dashboard.totals.iter().map(|totals| (totals.currency.clone(), totals.clone())).collect();
    let summed = totals_of(&dashboard.lines);
    if !cut_short(dashboard) && shown != summed {
        let detail = format!("under load its totals were {shown:?}, and the sums of its lines {summed:?}");
        state.tally.breach(|found| found.add("dashboard-totals", format_args!("dashboard {}", dashboard.seller), detail));
    }
    let mut shipped: Vec<&str> = dashboard.lines.iter().rev().filter(|line| line.status == "shipped").map(|line| line.order.as_str()).collect();
    shipped.dedup();
    for order in shipped.into_iter().take(LINES) {
        paid(state, dashboard.seller, order).await;
    }
}

async fn paid(state: &LoadState, seller: u64, order: &str) {
    state.tally.sampled("payments");
    let deadline = (Instant::now() + LAG).min(state.deadline);
    loop {
        let status = match state.read(Measure::Dashboard, &format!("/payments/{order}"), None).await {
            CommandEnd::Accepted(payment, _) => payment.get("status").and_then(Value::as_str).unwrap_or_default().to_owned(),
            // Other views may lag behind the dashboard's, each by itself.
            CommandEnd::Broken(_) if Instant::now() < deadline => String::new(),
            CommandEnd::Broken(kind) | CommandEnd::Refused(kind) => kind,
            CommandEnd::Unanswered => return,
        };
        if status == "captured" {
            return;
        }
        if !status.is_empty() {
            let detail = format!("order {order} was shown as shipped, and its payment is {status}");
            return state.tally.breach(|found| found.add("dashboard-shipment-before-payment", format_args!("dashboard {seller}"), detail));
        }
        sleep(LOOK).await;
    }
}

/// A customer is never sold an older version of a product than before.
pub async fn versions(state: &LoadState, customer: &mut Customer, order: &str, position: Option<&str>) {
    let CommandEnd::Accepted(row, _) = state.read(Measure::Checkout, &format!("/orders/{order}"), position).await else {
        return state.tally.error(Measure::Checkout, "order-not-read");
    };
    state.tally.sampled("orders");
    for line in row.get("lines").and_then(Value::as_array).into_iter().flatten() {
        let text = |field: &str| line.get(field).and_then(Value::as_str).unwrap_or_default();
        let Ok(version) = text("version").parse::<u64>() else {
            let detail = format!("product {} was priced with a version that is not recorded", text("product"));
            state.tally.breach(|found| found.add("price-version", format_args!("order {order}"), detail));
            continue;
        };
        let newest = customer.seen.entry(text("product").to_owned()).or_insert(version);
        if version < *newest {
            let detail = format!("product {} was priced with version {version}, after an order with version {newest}", text("product"));
            state.tally.breach(|found| found.add("price-version-back", format_args!("order {order}"), detail));
        }
        *newest = version.max(*newest);
    }
}
