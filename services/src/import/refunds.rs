//! Cancellations of the history: each is matched to an earlier accepted sale of the same customer and product, and
//! refunded there. One that its order has already is not asked for again, whatever file it comes from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use domain::{Currency, Money, Timestamp};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Ended;
use super::lines::{Line, Returned};
use super::work::{PAUSE, READ_WAIT, Work, reason};

/// A sale of the history that pieces can come back from.
#[derive(Clone, Debug)]
pub struct Open {
    /// its order
    pub order: String,
    /// its place there
    pub line: usize,
    /// the price of one
    pub price: Money,
    /// how many are not given back
    pub left: u32,
    /// it stands in the file before this line
    pub before: u64,
}

/// Customer and product -> their sales, as the file has them.
pub type Sold = BTreeMap<(u64, u64), Vec<Open>>;

/// A refund as its order has it.
#[derive(Clone, Debug)]
struct Made {
    reference: String,
    lines: Vec<(u64, u64)>,
    amount: String,
}

/// A cancellation and the sale it is refunded from.
#[derive(Clone, Debug)]
struct Refund {
    /// the cancellation's line in the file
    number: u64,
    order: String,
    line: usize,
    quantity: u32,
    at: Timestamp,
    reference: String,
}

/// What became of a cancellation: the order and the amount, or why nothing came back.
pub type Refunded = Result<(String, Money), String>;

impl Work {
    /// Makes the refunds that are not made, an order's one after the other once its packages are sent, and waits until the
    /// money of each is back: so an order's history is the same whatever log it is on.
    pub async fn refunds(&self, lines: &[Line], sold: Sold, currency: Currency, became: &mut BTreeMap<u64, Refunded>) -> anyhow::Result<()> {
        let wanted = |line: &Line| line.returned.as_ref().and_then(|back| sold.get(&(back.customer, back.product)));
        let orders: std::collections::BTreeSet<&str> = lines.iter().filter_map(wanted).flatten().map(|open| open.order.as_str()).collect();
        let jobs = orders.into_iter().map(|order| {
            let (work, order) = (self.clone(), order.to_owned());
            async move { Ok((order.clone(), work.made(&order).await?)) }
        });
        let mut made = BTreeMap::new();
        self.all("refunds", jobs.collect(), |(order, refunds)| drop(made.insert(order, refunds))).await?;
        let mut due = BTreeMap::<String, Vec<Refund>>::new();
        for (number, found) in plan(lines, sold, made) {
            match found {
                Planned::Made { order, amount } => {
                    drop(became.insert(number, Money::parse(&amount, currency).map(|amount| (order, amount)).map_err(|why| why.to_string())))
                }
                Planned::Due(refund) => due.entry(refund.order.clone()).or_default().push(refund),
            }
        }
        let known = Arc::new(Mutex::new(BTreeMap::new()));
        let jobs = due.into_iter().map(|(order, refunds)| {
            let (work, known) = (self.clone(), Arc::clone(&known));
            async move {
                work.until(&order, None, |row| row.get("shipment").is_some_and(Value::is_string)).await?;
                for refund in refunds {
                    let done = work.refund(&refund, currency).await?;
                    known.lock().insert(refund.number, done);
                }
                Ok(())
            }
        });
        let done = self.all("refunds", jobs.collect(), |()| {}).await;
        became.append(&mut known.lock());
        done
    }

    async fn refund(&self, Refund { order, line, quantity, at, reference, .. }: &Refund, currency: Currency) -> anyhow::Result<Refunded> {
        let body = json!({ "reference": reference, "lines": [{ "line": line, "quantity": quantity }] });
        let key = format!("import:{order}:{reference}:{line}x{quantity}");
        match self.market.command(Method::POST, &format!("/orders/{order}/refunds"), &key, *at, &body).await? {
            Ended::Refused(code) => Ok(Err(reason(&code))),
            Ended::Accepted(_, position) => {
                self.until(order, position.as_deref(), given_back).await?;
                let made = self.made(order).await?.into_iter().find(|made| made.reference == *reference);
                let amount = made.and_then(|made| Money::parse(&made.amount, currency).ok());
                Ok(amount.map(|amount| (order.clone(), amount)).ok_or_else(|| "not_in_order".to_owned()))
            }
        }
    }

    /// The refunds that an order has.
    async fn made(&self, order: &str) -> anyhow::Result<Vec<Made>> {
        let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let line = |line: &Value| Some((line.get("line")?.as_u64()?, line.get("quantity")?.as_u64()?));
        let lines = |refund: &Value| refund.get("lines").and_then(Value::as_array).into_iter().flatten().filter_map(line).collect();
        let refunds = self.market.all(&format!("/orders/{order}/refunds")).await?;
        Ok(refunds.iter().map(|refund| Made { reference: text(refund, "reference"), lines: lines(refund), amount: text(refund, "amount") }).collect())
    }

    /// Waits until an order's row is as wanted.
    async fn until(&self, order: &str, position: Option<&str>, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + READ_WAIT;
        loop {
            let row = self.market.get(&format!("/orders/{order}"), position).await?;
            if wanted(&row) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "order {order} is neither sent nor refunded after {} s: {row}", READ_WAIT.as_secs());
            tokio::time::sleep(PAUSE).await;
        }
    }
}

enum Planned {
    /// it was made before
    Made {
        order: String,
        amount: String,
    },
    Due(Refund),
}

/// Where each cancellation is refunded: where it was, or of all earlier sales of the customer and product with enough
/// pieces left from the latest at the same price, or from the latest.
fn plan(lines: &[Line], mut sold: Sold, mut made: BTreeMap<String, Vec<Made>>) -> Vec<(u64, Planned)> {
    let mut taken: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (order, refunds) in &made {
        taken.insert(order.clone(), refunds.iter().map(|made| made.reference.clone()).collect());
    }
    let mut planned = vec![];
    for line in lines {
        let Some(back) = &line.returned else { continue };
        let Some(open) = sold.get_mut(&(back.customer, back.product)) else { continue };
        let found = match open.iter_mut().find_map(|open| Some((already(&line.invoice, open, back, &mut made)?, open))) {
            Some((amount, open)) => {
                open.left = open.left.saturating_sub(back.quantity);
                Planned::Made { order: open.order.clone(), amount }
            }
            None => {
                let enough = |open: &Open| open.before < line.number && open.left >= back.quantity;
                let same = open.iter().rposition(|open| enough(open) && open.price == back.price);
                let Some(open) = same.or_else(|| open.iter().rposition(enough)).and_then(|at| open.get_mut(at)) else { continue };
                open.left -= back.quantity;
                let taken = taken.entry(open.order.clone()).or_default();
                // Named after the cancellation and not its place in the file: another file may have it elsewhere.
                let name = |count: usize| format!("{}/{}/{count}", line.invoice.trim(), line.code.trim());
                let reference = (1..=taken.len() + 1).map(name).find(|name| !taken.contains(name)).unwrap_or_else(|| name(0));
                taken.push(reference.clone());
                Planned::Due(Refund { number: line.number, order: open.order.clone(), line: open.line, quantity: back.quantity, at: back.at, reference })
            }
        };
        planned.push((line.number, found));
    }
    planned
}

/// The amount of the refund that an order has of this cancellation, which is then no other's.
fn already(invoice: &str, open: &Open, back: &Returned, made: &mut BTreeMap<String, Vec<Made>>) -> Option<String> {
    let made = made.get_mut(&open.order)?;
    let named = |made: &Made| made.reference.strip_prefix(invoice.trim()).is_some_and(|rest| rest.starts_with('/'));
    let at = made.iter().position(|made| named(made) && made.lines == [(open.line as u64, u64::from(back.quantity))])?;
    Some(made.swap_remove(at).amount)
}

/// Whether nothing of it is on its way back.
fn given_back(row: &Value) -> bool {
    row.get("refunding").and_then(Value::as_str).is_some_and(|amount| amount.bytes().all(|byte| matches!(byte, b'0' | b'.')))
}
