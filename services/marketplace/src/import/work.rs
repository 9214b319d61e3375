//! What an import asks of the marketplace: products, customers, and an order for each invoice. Whatever is refused is
//! the fate of the lines it stands for; only a marketplace that does not answer ends the work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use daybook::client::connection::Method;
use daybook::client::jobs;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::client::{CommandEnd, Marketplace};
use super::lines::{Line, Sale};
use super::placed::{OTHER_TIME, Placed};

/// Requests under way at once.
const AT_ONCE: usize = 48;
/// How long what was written may take to be read: longer than an order that cannot end takes to give up.
pub const READ_WAIT: Duration = Duration::from_secs(180);
/// How long the order of a command that another import sent may take to show.
const OTHERS_WAIT: Duration = Duration::from_secs(5);
/// Pause before a row is read again.
pub const PAUSE: Duration = Duration::from_millis(20);

/// What became of an invoice: its order, or why it has none.
pub type Invoiced = Result<Placed, String>;

/// The marketplace, and what all requests share.
#[derive(Clone)]
pub struct Work {
    /// where it is asked
    pub market: Marketplace,
    /// whose history it is
    pub seller: u64,
    bar: ProgressBar,
}

/// A refusal in the words of the report.
pub fn reason(code: &str) -> String {
    code.replace('-', "_")
}

impl Work {
    /// For a seller's history.
    pub fn at(market: Marketplace, seller: u64) -> Self {
        let style = ProgressStyle::with_template("{msg:>10} [{bar:30}] {pos}/{len} {per_sec} {eta} left").unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(0).with_style(style.progress_chars("=> "));
        Self { market, seller, bar }
    }

    /// Takes the progress from the terminal.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }

    /// Runs the jobs, so many at once, and gives their results in order; the first failure ends all.
    pub async fn all<T: Send + 'static, F: Future<Output = anyhow::Result<T>> + Send + 'static>(
        &self,
        name: &'static str,
        jobs: Vec<F>,
    ) -> anyhow::Result<Vec<T>> {
        self.bar.set_message(name);
        self.bar.set_position(0);
        self.bar.set_length(jobs.len() as u64);
        let counted = |job: F| {
            let bar = self.bar.clone();
            async move { job.await.inspect(|_| bar.inc(1)) }
        };
        jobs::all(AT_ONCE, jobs.into_iter().map(counted)).await
    }

    fn product(&self, sale: &Sale) -> String {
        format!("{}-{}", self.seller, sale.product)
    }

    /// One product for each stock code, under its first description and price. Gives those that cannot be, and why.
    pub async fn products(&self, lines: &[Line]) -> anyhow::Result<BTreeMap<u64, String>> {
        let mut first: BTreeMap<u64, &Sale> = BTreeMap::new();
        for sale in sales(lines) {
            let known = first.entry(sale.product).or_insert(sale);
            if known.description.is_empty() && !sale.description.is_empty() {
                *known = sale;
            }
        }
        let jobs = first.into_values().map(|sale| {
            let name = if sale.description.is_empty() { &sale.code } else { &sale.description };
            let body = json!({ "name": name, "sku": sale.code, "price": sale.price.to_string(), "currency": sale.price.currency.code(), "version": "1" });
            let (market, id, number, at) = (self.market.clone(), self.product(sale), sale.product, sale.at);
            async move {
                let put = market.command(Method::PUT, &format!("/products/{id}"), &format!("import:product:{id}"), at, &body).await?;
                Ok((number, refused(put, &["already-registered", "id-used"])))
            }
        });
        let done = self.all("products", jobs.collect()).await?;
        Ok(done.into_iter().filter_map(|(number, why)| Some((number, why?))).collect())
    }

    /// Registers the customers that are not known. Gives those that cannot be, and why.
    pub async fn customers(&self, lines: &[Line]) -> anyhow::Result<BTreeMap<u64, String>> {
        let named: BTreeMap<u64, &Sale> = sales(lines).filter(|sale| !sale.guest).map(|sale| (sale.customer, sale)).rev().collect();
        let jobs = named.into_values().map(|sale| {
            let (market, id, at, body) = (self.market.clone(), sale.customer, sale.at, json!({ "state": sale.country }));
            async move {
                let path = format!("/customers/{id}");
                // What a customer has said of itself since is not written over.
                if market.find(&path, None).await?.is_some() {
                    return Ok((id, None));
                }
                let put = market.command(Method::PUT, &path, &format!("import:customer:{id}"), at, &body).await?;
                Ok((id, refused(put, &["id-used"])))
            }
        });
        let done = self.all("customers", jobs.collect()).await?;
        Ok(done.into_iter().filter_map(|(id, why)| Some((id, why?))).collect())
    }

    /// Stock hears of products through the log; an order before that would be refused for want of a product.
    pub async fn until_bound(&self, lines: &[Line], but: &BTreeMap<u64, String>) -> anyhow::Result<()> {
        let wanted: BTreeSet<String> = sales(lines).filter(|sale| !but.contains_key(&sale.product)).map(|sale| self.product(sale)).collect();
        let deadline = Instant::now() + READ_WAIT;
        loop {
            let items = self.market.all(&format!("/stock?seller={}", self.seller)).await?;
            let named = items.iter().filter(|item| item.get("version").is_some_and(Value::is_string));
            let bound: BTreeSet<String> = named.filter_map(|item| item.get("id")?.as_str().map(str::to_owned)).collect();
            if wanted.is_subset(&bound) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "stock has not heard of {} products in {} s", wanted.difference(&bound).count(), READ_WAIT.as_secs());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One order for each invoice; a customer's invoices one after the other, so that their orders are numbered as the
    /// file has them.
    pub async fn orders(&self, invoices: BTreeMap<u64, Vec<Vec<Sale>>>, became: &mut BTreeMap<String, Invoiced>) -> anyhow::Result<()> {
        // Customers with many invoices first: they take longest.
        let mut customers: Vec<_> = invoices.into_iter().collect();
        customers.sort_by_key(|(_, invoices)| std::cmp::Reverse(invoices.len()));
        // What was placed is known, though others could not be.
        let known = Arc::new(Mutex::new(BTreeMap::new()));
        let jobs = customers.into_iter().map(|(customer, invoices)| {
            let (work, known) = (self.clone(), Arc::clone(&known));
            async move {
                for sales in invoices {
                    let invoice = sales.first().map(|sale| sale.invoice.clone()).unwrap_or_default();
                    let became = work.invoice(customer, &invoice, &sales).await.with_context(|| format!("invoice {invoice}"))?;
                    known.lock().insert(invoice, became);
                }
                Ok(())
            }
        });
        let done = self.all("orders", jobs.collect()).await;
        became.append(&mut known.lock());
        done.map(drop)
    }

    /// The order of an invoice: the one there is, or a new one.
    async fn invoice(&self, customer: u64, invoice: &str, sales: &[Sale]) -> anyhow::Result<Invoiced> {
        let mut expired = 0;
        match self.there(customer, invoice, sales, &mut expired).await? {
            Some(found) => Ok(found),
            None => self.place(customer, invoice, sales, expired).await,
        }
    }

    /// What there is of an invoice; counts its orders that time ran out for.
    async fn there(&self, customer: u64, invoice: &str, sales: &[Sale], expired: &mut usize) -> anyhow::Result<Option<Invoiced>> {
        let (mut found, mut other_time) = (None::<Placed>, false);
        *expired = 0;
        for item in self.market.all(&format!("/orders?reference={invoice}")).await? {
            let Some(id) = item.as_str().or_else(|| item.get("id")?.as_str()) else { continue };
            let order = self.ended(id, None).await?;
            match order.sells_for(self.seller) {
                false => {}
                true if !id.starts_with(&format!("{customer}-")) => return Ok(Some(Err("order_of_another_customer".to_owned()))),
                true if order.status == "expired" => *expired += 1,
                true if !order.placed_with(sales) => other_time = true,
                true if found.as_ref().is_none_or(|found| !found.paid()) => found = Some(order),
                true => {}
            }
        }
        Ok(found.map(Ok).or_else(|| other_time.then(|| Err(OTHER_TIME.to_owned()))))
    }

    /// Notes the sale: one command, so that an order is there with its pieces, or nothing is.
    async fn place(&self, customer: u64, invoice: &str, sales: &[Sale], expired: usize) -> anyhow::Result<Invoiced> {
        let item = |sale: &Sale| json!({ "product": self.product(sale), "quantity": sale.quantity, "name": sale.description, "agreed_price": sale.price.to_string(), "currency": sale.price.currency.code() });
        let (at, country) = sales.first().map(|sale| (sale.at, sale.country.as_str())).unwrap_or_default();
        let checkout = json!({ "payment_type": "BOLETO", "installments": 1, "state": country, "reference": invoice });
        let body = json!({ "items": sales.iter().map(item).collect::<Vec<_>>(), "checkout": checkout });
        let path = format!("/carts/{customer}/sales");
        // Of two imports at once one places the order, and the other finds it: both name it alike.
        let mut key = format!("import:{}:{invoice}:{expired}", self.seller);
        loop {
            match self.market.command(Method::POST, &path, &key, at, &body).await? {
                CommandEnd::Accepted(answer, position) => {
                    let id = answer.get("id").and_then(Value::as_str).context("an ended sale without its order")?;
                    return self.ended(id, position.as_deref()).await.map(Ok);
                }
                CommandEnd::Refused(code) if code == "id-used" => {
                    let deadline = Instant::now() + OTHERS_WAIT;
                    while Instant::now() < deadline {
                        if let Some(found) = self.there(customer, invoice, sales, &mut 0).await? {
                            return Ok(found);
                        }
                        tokio::time::sleep(10 * PAUSE).await;
                    }
                    // The other was refused, and this is another sale: mended since, say.
                    let of_body = format!("import:{}:{invoice}:{expired}:{:.16}", self.seller, blake3::hash(body.to_string().as_bytes()).to_hex());
                    if key == of_body {
                        return Ok(Err(reason(&code)));
                    }
                    key = of_body;
                }
                CommandEnd::Refused(code) => return Ok(Err(reason(&code))),
            }
        }
    }

    /// The order as its view has it, once it has ended.
    async fn ended(&self, id: &str, position: Option<&str>) -> anyhow::Result<Placed> {
        let deadline = Instant::now() + READ_WAIT;
        loop {
            let row = self.market.get(&format!("/orders/{id}"), position).await?;
            if let Some(order) = Placed::of(&row) {
                return Ok(order);
            }
            ensure!(Instant::now() < deadline, "order {id} has not ended in {} s: {}", READ_WAIT.as_secs(), row.get("status").unwrap_or(&Value::Null));
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The sales among lines.
pub fn sales(lines: &[Line]) -> impl DoubleEndedIterator<Item = &Sale> {
    lines.iter().filter_map(|line| line.sale.as_ref().ok())
}

/// Why it was refused, unless it is there already.
fn refused(ended: CommandEnd, there: &[&str]) -> Option<String> {
    match ended {
        CommandEnd::Refused(code) if !there.contains(&code.as_str()) => Some(reason(&code)),
        _ => None,
    }
}
