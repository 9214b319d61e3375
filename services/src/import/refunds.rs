//! Cancellations of the history: each is matched to an earlier accepted sale of the same customer and product, and
//! refunded there. The match follows from the file and the orders alone, so a second import makes the same ones.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use domain::Money;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Ended;
use super::lines::Line;
use super::{Placed, Work};

/// Why a cancellation is not refunded.
pub const UNMATCHED: &str = "cancellation_unmatched";

/// A cancellation and the sale it is refunded from.
pub struct Refund<'a> {
    /// the cancellation's line in the file
    pub number: u64,
    /// the order
    pub order: &'a str,
    /// what is given back
    pub amount: Money,
    reference: String,
    line: usize,
    quantity: u32,
}

/// A sale that pieces can come back from.
struct Open<'a> {
    order: &'a str,
    line: usize,
    price: Money,
    left: u32,
}

/// Of all earlier sales of the customer and product with enough pieces left: the latest at the same price, or the latest.
pub fn plan<'a>(lines: &[Line], placed: &'a BTreeMap<String, Placed>, seller: u64) -> anyhow::Result<Vec<Refund<'a>>> {
    let (mut open, mut refunds) = (BTreeMap::<(u64, u64), Vec<Open<'a>>>::new(), vec![]);
    for line in lines {
        if let Ok(sale) = &line.sale {
            let Some(order) = placed.get(&sale.invoice).filter(|order| order.status == "paid") else { continue };
            let key = (format!("{seller}-{}", sale.product), sale.price.to_string());
            let Some(at) = order.lines.get(&key).filter(|of_order| of_order.status == "reserved") else { continue };
            let open = open.entry((sale.customer, sale.product)).or_default();
            match open.iter_mut().find(|open| open.order == order.id && open.line == at.number) {
                Some(open) => open.left += sale.quantity, // the cart made one line of both
                None => open.push(Open { order: &order.id, line: at.number, price: sale.price, left: sale.quantity }),
            }
        }
        let Some(back) = &line.returned else { continue };
        let Some(sales) = open.get_mut(&(back.customer, back.product)) else { continue };
        let enough = |open: &&mut Open<'_>| open.left >= back.quantity;
        let same = sales.iter().rposition(|open| open.left >= back.quantity && open.price == back.price);
        let chosen = match same {
            Some(at) => sales.get_mut(at),
            None => sales.iter_mut().rev().find(enough),
        };
        let Some(chosen) = chosen else { continue };
        chosen.left -= back.quantity;
        refunds.push(Refund {
            number: line.number,
            order: chosen.order,
            amount: chosen.price.times(back.quantity)?,
            reference: format!("{}/{}", line.invoice, line.number),
            line: chosen.line,
            quantity: back.quantity,
        });
    }
    Ok(refunds)
}

impl Work {
    /// Makes the refunds, an order's one after the other once its packages are sent, and waits until the money of each is
    /// back: so an order's history is the same whatever log it is on.
    pub(super) async fn refunds(&self, refunds: &[Refund<'_>], lines: &[Line]) -> anyhow::Result<()> {
        let times: BTreeMap<u64, domain::Timestamp> = lines.iter().filter_map(|line| Some((line.number, line.returned.as_ref()?.at))).collect();
        let mut orders = BTreeMap::<&str, Vec<(String, domain::Timestamp, Value)>>::new();
        for refund in refunds {
            let body = json!({ "reference": refund.reference, "lines": [{ "line": refund.line, "quantity": refund.quantity }] });
            let at = times.get(&refund.number).copied().unwrap_or_default();
            orders.entry(refund.order).or_default().push((refund.reference.clone(), at, body));
        }
        let jobs = orders.into_iter().map(|(order, refunds)| {
            let (work, order) = (self.clone(), order.to_owned());
            async move {
                work.until(&order, None, |row| row.get("shipment").is_some_and(Value::is_string)).await?;
                for (reference, at, body) in refunds {
                    match work.market.command(Method::POST, &format!("/orders/{order}/refunds"), &format!("import:{reference}"), at, &body).await? {
                        Ended::Accepted(_, position) => work.until(&order, position.as_deref(), given_back).await?,
                        Ended::Refused(code, detail) => bail!("refund {reference} of order {order}: {code}: {detail}"),
                    }
                }
                Ok(())
            }
        });
        self.all("refunds", jobs.collect()).await.map(|_| ())
    }

    /// Waits until an order's row is as wanted.
    async fn until(&self, order: &str, position: Option<&str>, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + super::BOUND_WAIT;
        loop {
            let row = self.market.get(&format!("/orders/{order}"), position).await?;
            if wanted(&row) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "order {order} is neither sent nor refunded after {:?}: {row}", super::BOUND_WAIT);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Whether nothing of it is on its way back.
fn given_back(row: &Value) -> bool {
    row.get("refunding").and_then(Value::as_str).is_some_and(|amount| amount.bytes().all(|byte| matches!(byte, b'0' | b'.')))
}
