//! `daybook import`: a shop's order history becomes commands, through the public routes only, with their historical
//! times. Every line is accounted for; running it again goes on where it stopped, and changes nothing once it is done.
//!
//! What keeps a repeat from doubling anything is natural, not a window of time: products and customers are what they
//! are, deliveries and additions to carts carry references, and an invoice that has its order is not sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use domain::{Currency, OrderId, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cli::{Output, Target};

mod client;
mod lines;
mod refunds;
mod report;

use client::{Ended, Marketplace};
use lines::Sale;
use report::Report;

/// Requests under way at once.
const AT_ONCE: usize = 48;
/// How long stock may take to hear of the products.
const BOUND_WAIT: Duration = Duration::from_secs(60);

/// What to import.
#[derive(clap::Args)]
pub struct Order {
    /// The history: InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country
    file: PathBuf,
    #[command(flatten)]
    target: Target,
    /// Where every line's fate is written, as CSV
    #[arg(long, value_name = "FILE", default_value = "import-report.csv")]
    report: PathBuf,
    /// Whose products these are
    #[arg(long, default_value_t = 1)]
    seller: u64,
    /// The currency of the file's prices
    #[arg(long, default_value = "GBP")]
    currency: Currency,
    /// How the summary is printed
    #[arg(short, long, default_value = "table")]
    output: Output,
}

/// An order of the marketplace, as read back from its view.
#[derive(Clone, Debug)]
pub struct Placed {
    /// its id
    pub id: String,
    /// its total
    pub total: String,
    /// (product, price) -> the line
    pub lines: BTreeMap<(String, String), PlacedLine>,
    /// how it ended
    pub status: String,
}

/// A line of such an order.
#[derive(Clone, Debug)]
pub struct PlacedLine {
    /// its place in the order, from 0
    pub number: usize,
    /// what became of it
    pub status: String,
}

/// Runs the import.
pub async fn run(order: Order) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let lines = lines::read(&order.file, order.currency)?;
    let sales: Vec<Sale> = lines.iter().filter_map(|line| line.sale.clone().ok()).collect();
    let market = Marketplace::at(&order.target.url)?;
    let work = Work { market, seller: order.seller, limit: Arc::new(Semaphore::new(AT_ONCE)), bar: bar() };
    work.products(&sales).await?;
    work.customers(&sales).await?;
    work.deliveries(&sales, &lines).await?;
    work.until_bound(&sales).await?;
    let placed = work.orders(&sales).await?;
    let refunds = refunds::plan(&lines, &placed, order.seller)?;
    work.refunds(&refunds, &lines).await?;
    work.bar.finish_and_clear();
    let report = Report::of(&lines, &placed, &refunds, order.seller, order.currency)?;
    report.write(&order.report)?;
    report.print(order.output, &order.report, began.elapsed());
    Ok(ExitCode::SUCCESS)
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>10} [{bar:30}] {pos}/{len} {per_sec} {eta} left").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style.progress_chars("=> "))
}

#[derive(Clone)]
struct Work {
    market: Marketplace,
    seller: u64,
    limit: Arc<Semaphore>,
    bar: ProgressBar,
}

impl Work {
    /// Runs the jobs, so many at once, and gives their results; the first failure ends all.
    async fn all<T: Send + 'static, F: Future<Output = anyhow::Result<T>> + Send + 'static>(&self, name: &'static str, jobs: Vec<F>) -> anyhow::Result<Vec<T>> {
        self.bar.set_message(name);
        self.bar.set_position(0);
        self.bar.set_length(jobs.len() as u64);
        let mut set = JoinSet::new();
        for job in jobs {
            let (limit, bar) = (Arc::clone(&self.limit), self.bar.clone());
            set.spawn(async move {
                let _place = limit.acquire_owned().await?;
                let done = job.await;
                bar.inc(1);
                done
            });
        }
        let mut results = vec![];
        while let Some(done) = set.join_next().await {
            results.push(done??);
        }
        Ok(results)
    }

    fn product(&self, sale: &Sale) -> String {
        format!("{}-{}", self.seller, sale.product)
    }

    /// One product for each stock code, under its first description and price.
    async fn products(&self, sales: &[Sale]) -> anyhow::Result<()> {
        let mut first: BTreeMap<u64, &Sale> = BTreeMap::new();
        for sale in sales {
            let known = first.entry(sale.product).or_insert(sale);
            if known.description.is_empty() && !sale.description.is_empty() {
                *known = sale;
            }
        }
        let jobs = first.into_values().map(|sale| {
            let name = if sale.description.is_empty() { &sale.code } else { &sale.description };
            let body = json!({ "name": name, "sku": sale.code, "price": sale.price.to_string(), "currency": sale.price.currency.code(), "version": "1" });
            let (market, id, at) = (self.market.clone(), self.product(sale), sale.at);
            async move {
                known(
                    market.command(Method::PUT, &format!("/products/{id}"), &format!("import:product:{id}"), at, &body).await?,
                    &["already-registered", "id-used"],
                )
            }
        });
        self.all("products", jobs.collect()).await.map(|_| ())
    }

    async fn customers(&self, sales: &[Sale]) -> anyhow::Result<()> {
        let named: BTreeMap<u64, &Sale> = sales.iter().rev().filter(|sale| !sale.guest).map(|sale| (sale.customer, sale)).collect();
        let jobs = named.into_values().map(|sale| {
            let (market, id, at, body) = (self.market.clone(), sale.customer, sale.at, json!({ "state": sale.country }));
            async move {
                // One who is known already has said more than a file knows, and a PUT would replace it.
                if market.find(&format!("/customers/{id}"), None).await?.is_some() {
                    return Ok(());
                }
                known(
                    market.command(Method::PUT, &format!("/customers/{id}"), &format!("import:customer:{id}"), at, &body).await?,
                    &["already-registered", "id-used"],
                )
            }
        });
        self.all("customers", jobs.collect()).await.map(|_| ())
    }

    /// What the file sells came in before: one delivery for each product, named after its first and last line.
    async fn deliveries(&self, sales: &[Sale], lines: &[lines::Line]) -> anyhow::Result<()> {
        let numbers = lines.iter().filter(|line| line.sale.is_ok()).map(|line| line.number);
        let mut deliveries: BTreeMap<u64, (u64, &Sale, String, String)> = BTreeMap::new();
        for (sale, number) in sales.iter().zip(numbers) {
            let place = format!("{}/{number}", sale.invoice);
            let delivery = deliveries.entry(sale.product).or_insert_with(|| (0, sale, place.clone(), place.clone()));
            delivery.0 += u64::from(sale.quantity);
            delivery.3 = place;
        }
        let jobs = deliveries.into_values().map(|(quantity, sale, first, last)| {
            let reference = format!("import {first} to {last}");
            let (market, id, at) = (self.market.clone(), self.product(sale), sale.at);
            async move {
                let body = json!({ "quantity": quantity, "reference": reference });
                match market.command(Method::POST, &format!("/stock/{id}/receipts"), &format!("import:{id}:{reference}"), at, &body).await? {
                    Ended::Accepted(..) => Ok(()),
                    Ended::Refused(code, detail) => {
                        bail!("stock of {id}: {code}: {detail}; another file with the same first and last lines was imported before")
                    }
                }
            }
        });
        self.all("stock", jobs.collect()).await.map(|_| ())
    }

    /// Stock hears of products through the log; an order before that would be refused for want of a product.
    async fn until_bound(&self, sales: &[Sale]) -> anyhow::Result<()> {
        let wanted: BTreeSet<String> = sales.iter().map(|sale| self.product(sale)).collect();
        let deadline = Instant::now() + BOUND_WAIT;
        loop {
            let (mut bound, mut cursor) = (BTreeSet::new(), String::new());
            loop {
                let page = self.market.get(&format!("/stock?seller={}&limit=1000{cursor}", self.seller), None).await?;
                let items = page.get("items").and_then(Value::as_array).context("a listing without items")?;
                bound.extend(
                    items
                        .iter()
                        .filter(|item| item.get("version").is_some_and(Value::is_string))
                        .filter_map(|item| item.get("id")?.as_str().map(str::to_owned)),
                );
                match page.get("next").and_then(Value::as_str) {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            if wanted.is_subset(&bound) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "stock has not heard of {} products in {} s", wanted.difference(&bound).count(), BOUND_WAIT.as_secs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// One order for each invoice; a customer's invoices one after the other, as a cart is checked out.
    async fn orders(&self, sales: &[Sale]) -> anyhow::Result<BTreeMap<String, Placed>> {
        let mut customers: BTreeMap<u64, Vec<(String, Vec<Sale>)>> = BTreeMap::new();
        for sale in sales {
            let invoices = customers.entry(sale.customer).or_default();
            match invoices.iter_mut().find(|(invoice, _)| *invoice == sale.invoice) {
                Some((_, lines)) => lines.push(sale.clone()),
                None => invoices.push((sale.invoice.clone(), vec![sale.clone()])),
            }
        }
        // Customers with many invoices first: they take longest.
        let mut customers: Vec<_> = customers.into_iter().collect();
        customers.sort_by_key(|(_, invoices)| std::cmp::Reverse(invoices.len()));
        let jobs = customers.into_iter().map(|(customer, invoices)| {
            let work = self.clone();
            async move {
                let mut placed = vec![];
                for (invoice, sales) in invoices {
                    placed.push((invoice.clone(), work.order(customer, &invoice, &sales).await.with_context(|| format!("invoice {invoice}"))?));
                }
                Ok(placed)
            }
        });
        Ok(self.all("orders", jobs.collect()).await?.into_iter().flatten().collect())
    }

    async fn order(&self, customer: u64, invoice: &str, sales: &[Sale]) -> anyhow::Result<Placed> {
        let found = self.market.get(&format!("/orders?reference={invoice}"), None).await?;
        let orders = found.get("items").and_then(Value::as_array).into_iter().flatten();
        let mut ids = orders.filter_map(|order| order.get("id")?.as_str()).filter(|id| id.starts_with(&format!("{customer}-")));
        let (id, position) = match ids.next() {
            Some(id) => (id.to_owned(), None),
            None => self.check_out(customer, invoice, sales).await?,
        };
        let placed = self.ended(&id, position.as_deref()).await?;
        self.reopened(customer, &id).await?;
        Ok(placed)
    }

    /// Sends an invoice's lines through the customer's cart; gives the order they became, and where it is read.
    async fn check_out(&self, customer: u64, invoice: &str, sales: &[Sale]) -> anyhow::Result<(String, Option<String>)> {
        let at: Timestamp = sales.first().map(|sale| sale.at).unwrap_or_default();
        let item = |sale: &Sale| json!({ "product": self.product(sale), "quantity": sale.quantity, "name": sale.description, "agreed_price": sale.price.to_string(), "currency": sale.price.currency.code() });
        let items: Vec<Value> = sales.iter().map(item).collect();
        let added = self
            .market
            .command(
                Method::POST,
                &format!("/carts/{customer}/items"),
                &format!("import:{invoice}:items"),
                at,
                &json!({ "items": items, "reference": invoice }),
            )
            .await?;
        if let Ended::Refused(code, detail) = added {
            bail!("cart {customer}: {code}: {detail}");
        }
        let country = sales.first().map(|sale| sale.country.as_str()).unwrap_or_default();
        let checkout = json!({ "payment_type": "BOLETO", "installments": 1, "state": country, "reference": invoice });
        match self.market.command(Method::POST, &format!("/carts/{customer}/checkout"), &format!("import:{invoice}:checkout"), at, &checkout).await? {
            Ended::Refused(code, detail) => bail!("checkout of cart {customer}: {code}: {detail}"),
            Ended::Accepted(answer, position) => {
                let id = answer.get("id").and_then(Value::as_str).context("an ended checkout without its order")?;
                Ok((id.to_owned(), position))
            }
        }
    }

    /// The cart hears of its order's end through the log: the customer's next invoice must find it open.
    async fn reopened(&self, customer: u64, id: &str) -> anyhow::Result<()> {
        let (deadline, order) = (Instant::now() + BOUND_WAIT, id.parse::<OrderId>().map_err(anyhow::Error::msg)?);
        loop {
            let cart = self.market.find(&format!("/carts/{customer}"), None).await?.unwrap_or_default();
            let seen = cart.get("orders").and_then(Value::as_u64).unwrap_or_default();
            if seen >= order.number && cart.get("sent").and_then(Value::as_str) != Some(id) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "cart {customer} has not heard in {} s that order {id} ended", BOUND_WAIT.as_secs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The order as its view has it, once it has ended.
    async fn ended(&self, id: &str, position: Option<&str>) -> anyhow::Result<Placed> {
        let deadline = Instant::now() + BOUND_WAIT;
        loop {
            let order = self.market.get(&format!("/orders/{id}"), position).await?;
            let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let status = text(&order, "status");
            if !["reserving", "invoiced", "cancelling"].contains(&status.as_str()) {
                let lines = order.get("lines").and_then(Value::as_array).into_iter().flatten();
                let line =
                    |(number, line): (usize, &Value)| ((text(line, "product"), text(line, "unit_price")), PlacedLine { number, status: text(line, "status") });
                let lines = lines.enumerate().map(line).collect();
                return Ok(Placed { id: id.to_owned(), total: text(&order, "total"), lines, status });
            }
            ensure!(Instant::now() < deadline, "order {id} is still {status} after {} s", BOUND_WAIT.as_secs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Accepted, or refused because it is there already.
fn known(ended: Ended, there: &[&str]) -> anyhow::Result<()> {
    match ended {
        Ended::Accepted(..) => Ok(()),
        Ended::Refused(code, _) if there.contains(&code.as_str()) => Ok(()),
        Ended::Refused(code, detail) => bail!("{code}: {detail}"),
    }
}
