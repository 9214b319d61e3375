//! Before the load: its own sellers, products, stock and customers, through the public routes.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use daybook::client::connection::{Command, Method};
use daybook::client::jobs::all;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::caller::{Caller, CommandEnd};
use super::goods::{CURRENCY, FREIGHT, PRICES};
use super::plan::{PRODUCTS, Plan};
use super::state::{Product, amount};
use super::tally::{Measure, Tally};

/// Pieces of each product.
const RECEIVED: u64 = 10_000;
/// Requests under way at once.
const AT_ONCE: usize = 16;
/// How long it may take altogether.
const PATIENCE: Duration = Duration::from_secs(300);
/// Pause between two looks at the stock.
const LOOK: Duration = Duration::from_millis(50);

struct Opening {
    plan: Arc<Plan>,
    caller: Arc<Caller>,
    tally: Tally,
    deadline: Instant,
}

/// Registers everybody; gives the products, and the revision that each was acknowledged with.
pub async fn prepare(plan: &Arc<Plan>, caller: &Arc<Caller>) -> anyhow::Result<(Vec<Product>, Vec<u64>)> {
    let opening = Arc::new(Opening { plan: Arc::clone(plan), caller: Arc::clone(caller), tally: Tally::default(), deadline: Instant::now() + PATIENCE });
    opening.fresh().await?;
    let sellers = places(plan.sellers).map(|at| opening.clone().seller(at));
    all(AT_ONCE, sellers).await?;
    let products = all(AT_ONCE, places(plan.sellers * PRODUCTS).map(|at| opening.clone().product(at))).await?;
    all(AT_ONCE, places(plan.customers).map(|at| opening.clone().customer(at))).await?;
    all(AT_ONCE, places(plan.sellers).map(|at| opening.clone().bound(at))).await?;
    Ok(products.into_iter().unzip())
}

fn places(count: u64) -> std::ops::Range<usize> {
    0..usize::try_from(count).unwrap_or(usize::MAX)
}

impl Opening {
    async fn read(&self, path: &str) -> CommandEnd {
        self.caller.read(&self.tally, Measure::Session, path, None, self.deadline).await
    }

    async fn command(&self, method: Method, path: &str, name: &str, body: &Value) -> anyhow::Result<Value> {
        let id = format!("{}-{name}", self.plan.run);
        let command = Command { method: method.clone(), path, id: &id, occurred_at: None, body };
        match self.caller.command(&self.tally, Measure::Session, &command, self.deadline).await {
            CommandEnd::Accepted(answer, _) => Ok(answer),
            CommandEnd::Refused(why) | CommandEnd::Broken(why) => bail!("{method} {path}: {why}"),
            CommandEnd::Unanswered => bail!("{method} {path} was not answered in {} s: start a marketplace with `daybook up`", PATIENCE.as_secs()),
        }
    }

    /// A seed is used once on one marketplace: its ids and idempotency keys are its own.
    async fn fresh(&self) -> anyhow::Result<()> {
        match self.read(&format!("/products/{}-1", self.plan.seller(0))).await {
            CommandEnd::Accepted(..) => bail!("this marketplace has seen a load with --seed {}: choose another seed", self.plan.seed),
            CommandEnd::Unanswered => bail!("no marketplace for {} s: start one with `daybook up`", PATIENCE.as_secs()),
            CommandEnd::Refused(_) | CommandEnd::Broken(_) => Ok(()),
        }
    }

    async fn seller(self: Arc<Self>, at: usize) -> anyhow::Result<()> {
        let (id, run) = (self.plan.seller(at), &self.plan.run);
        let body = json!({ "name": format!("seller {id} of {run}"), "company_name": run, "city": "Oslo" });
        self.command(Method::PUT, &format!("/sellers/{id}"), &format!("seller-{id}"), &body).await.map(|_| ())
    }

    async fn product(self: Arc<Self>, at: usize) -> anyhow::Result<(Product, u64)> {
        let tens = usize::try_from(PRODUCTS)?;
        let (id, price) = (format!("{}-{}", self.plan.seller(at / tens), at % tens + 1), self.plan.random(u64::MAX - 1 - at as u64).random_range(PRICES));
        let body = json!({ "name": format!("thing {id}"), "price": amount(price), "freight_value": FREIGHT, "currency": CURRENCY, "version": "1" });
        let answer = self.command(Method::PUT, &format!("/products/{id}"), &format!("product-{id}"), &body).await?;
        let revision = answer.get("version").and_then(Value::as_u64).context("a registration without its version")?;
        let receipt = json!({ "quantity": RECEIVED, "reference": self.plan.run });
        self.command(Method::POST, &format!("/stock/{id}/receipts"), &format!("stock-{id}"), &receipt).await?;
        Ok((Product { id, price: price.into(), version: 1.into(), known: 1.into() }, revision))
    }

    async fn customer(self: Arc<Self>, at: usize) -> anyhow::Result<()> {
        let (id, run) = (self.plan.customer(at), &self.plan.run);
        let body = json!({ "first_name": "Load", "last_name": run, "city": "Oslo" });
        self.command(Method::PUT, &format!("/customers/{id}"), &format!("customer-{id}"), &body).await.map(|_| ())
    }

    /// Stock hears of products through the log; an order before that would be refused for want of a product.
    async fn bound(self: Arc<Self>, at: usize) -> anyhow::Result<()> {
        let seller = self.plan.seller(at);
        loop {
            if let CommandEnd::Accepted(page, _) = self.read(&format!("/stock?seller={seller}")).await {
                let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
                if items.iter().filter(|item| item.get("version").is_some_and(Value::is_string)).count() as u64 == PRODUCTS {
                    return Ok(());
                }
            }
            ensure!(Instant::now() < self.deadline, "stock of seller {seller} has not heard of its products in {} s: see /readyz?verbose", PATIENCE.as_secs());
            sleep(LOOK).await;
        }
    }
}
