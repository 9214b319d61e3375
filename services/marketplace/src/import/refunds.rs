//! Cancellations of the history: each is matched to an earlier sale of the same customer and product, of this file or of
//! one before it, and refunded there. One that an order has already is not asked for again, whatever file it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use daybook::client::connection::Method;
use domain::{Currency, Money, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::client::CommandEnd;
use super::lines::{Line, Returned};
use super::made::{Made, OTHERWISE, hold};
use super::placed::Placed;
use super::work::{PAUSE, READ_WAIT, Work, reason};

/// Where sales stand in the file.
#[derive(Debug, Default)]
pub struct Stands {
    /// an order's line -> the first line of the file that it was accepted for
    pub accepted: BTreeMap<(String, usize), u64>,
    /// customer and product -> the first line with a sale that was not
    pub refused: BTreeMap<(u64, u64), u64>,
}

/// What became of a cancellation: the order and the amount, or why nothing came back.
pub type Refunded = Result<(String, Money), String>;

/// What became of all of them.
#[derive(Debug, Default)]
pub struct Refunds {
    /// by their line
    pub lines: BTreeMap<u64, Refunded>,
    /// what orders have that the file has not, of invoices that are in the file
    pub besides: Vec<Made>,
}

/// A sale that pieces can come back from.
#[derive(Clone, Debug)]
struct Open {
    /// its order
    order: String,
    /// its place there
    line: usize,
    /// the price of one
    price: Money,
    /// how many are not given back
    left: u32,
    /// the file's line, if it is of this file
    stands: Option<u64>,
    /// when
    at: Timestamp,
}

/// Customer and product -> their sales: those of earlier files first, each kind in its order.
type Sold = BTreeMap<(u64, u64), Vec<Open>>;

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

impl Work {
    /// Makes the refunds that are not made, an order's one after the other once its packages are sent, and waits until the
    /// money of each is back: so an order's history is the same whatever log it is on. `orders` are those of the file.
    pub async fn refunds(
        &self,
        lines: &[Line],
        mut orders: BTreeMap<String, Placed>,
        stands: &Stands,
        currency: Currency,
        became: &mut Refunds,
    ) -> anyhow::Result<()> {
        self.orders_before(lines, &mut orders).await?;
        let made = self.all_made(&orders).await?;
        let own = |made: &&Made| orders.get(&made.order).is_some_and(|order| made.lines.iter().any(|(line, _)| order.product(*line, self.seller).is_some()));
        let held = hold(lines, made.values().flatten().filter(own));
        became.besides = held.besides;
        let mut due = BTreeMap::<String, Vec<Refund>>::new();
        for refund in plan(lines, &held.lines, (self.sold(&orders, &made, stands, currency), stands), &made) {
            due.entry(refund.order.clone()).or_default().push(refund);
        }
        for (number, made) in held.lines {
            let amount = |made: Made| Money::parse(&made.amount, currency).map(|amount| (made.order, amount)).map_err(|why| why.to_string());
            became.lines.insert(number, made.ok_or_else(|| OTHERWISE.to_owned()).and_then(amount));
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
        let done = self.all("refunds", jobs.collect()).await;
        became.lines.append(&mut known.lock());
        done.map(drop)
    }

    /// Adds the other orders of all customers who gave something back: its sale may have come with an earlier file.
    async fn orders_before(&self, lines: &[Line], orders: &mut BTreeMap<String, Placed>) -> anyhow::Result<()> {
        let customers: BTreeSet<u64> = lines.iter().filter_map(|line| Some(line.returned.as_ref()?.customer)).collect();
        let jobs = customers.into_iter().map(|customer| {
            let work = self.clone();
            async move {
                let rows = work.market.all(&format!("/orders?customer={customer}")).await?;
                Ok(rows.iter().filter_map(Placed::of).map(|order| (order.id.clone(), order)).collect::<Vec<_>>())
            }
        });
        orders.extend(self.all("sales", jobs.collect()).await?.into_iter().flatten());
        Ok(())
    }

    /// The refunds that these orders have.
    async fn all_made(&self, orders: &BTreeMap<String, Placed>) -> anyhow::Result<BTreeMap<String, Vec<Made>>> {
        let jobs = orders.values().filter(|order| order.refunds).map(|order| {
            let (work, id, currency) = (self.clone(), order.id.clone(), order.currency.clone());
            async move { Ok((id.clone(), work.made(&id, &currency).await?)) }
        });
        Ok(self.all("refunds", jobs.collect()).await?.into_iter().collect())
    }

    /// What these orders have sold, and what is left of it.
    fn sold(&self, orders: &BTreeMap<String, Placed>, made: &BTreeMap<String, Vec<Made>>, stands: &Stands, currency: Currency) -> Sold {
        let mut sold = Sold::new();
        for order in orders.values().filter(|order| order.paid() && order.currency == currency.code()) {
            let Some((customer, at)) = order.customer().zip(order.placed_at) else { continue };
            let backs = || made.get(&order.id).into_iter().flatten().flat_map(|made| &made.lines);
            let asked = |at: usize| backs().filter(|(line, _)| *line == at).map(|(_, pieces)| pieces).sum::<u32>();
            for (line, placed) in order.lines.iter().enumerate().filter(|(_, line)| line.status == "reserved") {
                let Some((product, price)) = order.product(line, self.seller).zip(Money::parse(&placed.price, currency).ok()) else { continue };
                // What was asked for may not have come back yet.
                let left = placed.quantity.saturating_sub(asked(line).max(placed.returned));
                let stands = stands.accepted.get(&(order.id.clone(), line)).copied();
                sold.entry((customer, product)).or_default().push(Open { order: order.id.clone(), line, price, left, stands, at });
            }
        }
        sold.values_mut().for_each(|open| open.sort_by_key(|open| (open.stands, open.at)));
        sold
    }

    async fn refund(&self, Refund { order, line, quantity, at, reference, .. }: &Refund, currency: Currency) -> anyhow::Result<Refunded> {
        let body = json!({ "reference": reference, "lines": [{ "line": line, "quantity": quantity }] });
        let key = format!("import:{order}:{reference}:{line}x{quantity}");
        match self.market.command(Method::POST, &format!("/orders/{order}/refunds"), &key, *at, &body).await? {
            CommandEnd::Refused(code) => Ok(Err(reason(&code))),
            CommandEnd::Accepted(_, position) => {
                self.until(order, position.as_deref(), given_back).await?;
                let made = self.made(order, currency.code()).await?.into_iter().find(|made| made.reference == *reference);
                let amount = made.and_then(|made| Money::parse(&made.amount, currency).ok());
                Ok(amount.map(|amount| (order.clone(), amount)).ok_or_else(|| "not_in_order".to_owned()))
            }
        }
    }

    /// The refunds that an order has.
    async fn made(&self, order: &str, currency: &str) -> anyhow::Result<Vec<Made>> {
        let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |line: &Value, field: &str| line.get(field).and_then(Value::as_u64);
        let line = |line: &Value| Some((usize::try_from(number(line, "line")?).ok()?, u32::try_from(number(line, "quantity")?).ok()?));
        let lines = |refund: &Value| refund.get("lines").and_then(Value::as_array).into_iter().flatten().filter_map(line).collect();
        let made = |refund: &Value| Made {
            order: order.to_owned(),
            reference: text(refund, "reference"),
            lines: lines(refund),
            amount: text(refund, "amount"),
            currency: currency.to_owned(),
        };
        Ok(self.market.all(&format!("/orders/{order}/refunds")).await?.iter().map(made).collect())
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

/// Where each cancellation that was not refunded is to be: of all earlier sales of the customer and product with enough
/// pieces left from the latest at the same price, or from the latest; this file's before those of others.
fn plan(lines: &[Line], held: &BTreeMap<u64, Option<Made>>, (mut sold, stands): (Sold, &Stands), made: &BTreeMap<String, Vec<Made>>) -> Vec<Refund> {
    let mut taken: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (order, refunds) in made {
        taken.insert(order.clone(), refunds.iter().map(|made| made.reference.clone()).collect());
    }
    let mut planned = vec![];
    for line in lines.iter().filter(|line| !held.contains_key(&line.number)) {
        let Some(back) = &line.returned else { continue };
        let sale = (back.customer, back.product);
        // The pieces may be of the file's own sale, and where that was refused no other gives its money back.
        let refused = stands.refused.get(&sale).is_some_and(|refused| *refused < line.number);
        let Some(open) = sold.get_mut(&sale).and_then(|open| latest(open, line.number, back, refused)) else { continue };
        open.left -= back.quantity;
        let taken = taken.entry(open.order.clone()).or_default();
        let name = |count: usize| Made::reference(line, count);
        let reference = (1..=taken.len() + 1).map(name).find(|name| !taken.contains(name)).unwrap_or_else(|| name(0));
        taken.push(reference.clone());
        planned.push(Refund { number: line.number, order: open.order.clone(), line: open.line, quantity: back.quantity, at: back.at, reference });
    }
    planned
}

/// The sale that a cancellation at this line of the file gives back from: one of the file's `own`, or any.
fn latest<'o>(open: &'o mut [Open], number: u64, back: &Returned, own: bool) -> Option<&'o mut Open> {
    let enough = |open: &Open| open.left >= back.quantity && open.stands.map_or(!own && open.at <= back.at, |stands| stands < number);
    let same = open.iter().rposition(|open| enough(open) && open.price == back.price);
    same.or_else(|| open.iter().rposition(enough)).and_then(|at| open.get_mut(at))
}

/// Whether nothing of it is on its way back.
fn given_back(row: &Value) -> bool {
    row.get("refunding").and_then(Value::as_str).is_some_and(|amount| amount.bytes().all(|byte| matches!(byte, b'0' | b'.')))
}
