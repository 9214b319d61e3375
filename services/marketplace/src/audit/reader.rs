//! Reads the marketplace's rows through its public routes, page by page. Judges nothing, and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail};
use daybook::client::connection::{Connection, Retry};
use daybook::client::jobs;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::acknowledged::Acknowledged;
use super::rows::{DeadLetter, Order, Payment, Product, Shipment, Snapshot, Step, StockItem};

/// Longest that one request may take.
const REQUEST: Duration = Duration::from_secs(30);
/// How long each of several instances may be away before it counts as not asked.
const AWAY: Duration = Duration::from_secs(10);
/// Pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a marketplace that is away is waited for.
const RETRY: Retry<'static> = Retry::every(PAUSE, Duration::from_secs(60));
/// Rows of a page.
const PAGE: usize = 1_000;
/// Requests under way at once.
const AT_ONCE: usize = 16;
/// Lines of a dashboard; what is left off is counted.
const DASHBOARD_LINES: usize = 100_000;
/// The histories that are read, by their routes.
pub const HISTORIES: [&str; 3] = ["orders", "payments", "shipments"];

/// A marketplace to read, at one instance or several.
#[derive(Clone)]
pub struct Reader(Connection);

#[derive(Deserialize)]
struct SellerId {
    id: u64,
}

impl Reader {
    /// Of these instances; one answers all, until it does not.
    pub fn of(urls: &[String]) -> Self {
        Self(Connection::to(urls).within(REQUEST))
    }

    /// A row; none where there is none.
    pub async fn row<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        self.0.find(path, None, &RETRY).await
    }

    /// All dead letters, which operators alone see.
    pub async fn dead_letters(&self) -> anyhow::Result<Vec<DeadLetter>> {
        self.pages("/dead-letters").await?.context(
            "GET /dead-letters: there is no such listing here, and an audit needs it: where operators have a listener of their own, \
             give its address (`load --audit-url`, `audit --url`)",
        )
    }

    /// Every row of a listing.
    pub async fn all<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Vec<T>> {
        self.pages(path).await?.with_context(|| format!("GET {path}: there is no such listing"))
    }

    /// Every row of a listing, if there is one.
    async fn pages<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<Vec<T>>> {
        let Some(listing) = self.0.list(path, PAGE, &RETRY).await? else { return Ok(None) };
        if let Some(missing) = listing.missing.first() {
            bail!("GET {path} does not show everything, so nothing can be said: {}", missing["why"].as_str().unwrap_or_default());
        }
        Ok(Some(listing.items))
    }

    /// The results of the same question about each of these, some at once; what is not there is left out.
    async fn each<K, T, F>(&self, keys: impl IntoIterator<Item = K>, ask: impl Fn(Self, K) -> F) -> anyhow::Result<BTreeMap<K, T>>
    where
        K: Clone + Ord + Send + 'static,
        T: Send + 'static,
        F: Future<Output = anyhow::Result<Option<T>>> + Send + 'static,
    {
        let keys: Vec<K> = keys.into_iter().collect();
        let rows = jobs::all(AT_ONCE, keys.iter().map(|key| ask(self.clone(), key.clone()))).await?;
        Ok(keys.into_iter().zip(rows).filter_map(|(key, row)| Some((key, row?))).collect())
    }

    async fn rows<K, T>(&self, keys: impl IntoIterator<Item = K>, path: fn(&K) -> String) -> anyhow::Result<BTreeMap<K, T>>
    where
        K: Clone + Ord + Send + Sync + 'static,
        T: DeserializeOwned + Send + 'static,
    {
        self.each(keys, |reader, key| async move { reader.row(&path(&key)).await }).await
    }

    /// Every row the audit goes by, but for histories.
    pub async fn snapshot(&self, acknowledged: &Acknowledged) -> anyhow::Result<Snapshot> {
        let dead_letters = self.dead_letters().await?;
        let products: Vec<Product> = self.all("/products").await?;
        let mut sellers: BTreeSet<u64> = self.all::<SellerId>("/sellers").await?.into_iter().map(|seller| seller.id).collect();
        sellers.extend(products.iter().filter_map(|product| product.id.split_once('-')?.0.parse::<u64>().ok()));
        let orders: Vec<Order> = self.all("/orders").await?;
        let customers: BTreeSet<u64> = orders.iter().filter_map(Order::numbers).map(|(customer, _)| customer).collect();
        let (customers, orders) = (customers.into_iter().chain(acknowledged.customers()).collect::<BTreeSet<u64>>(), orders);
        Ok(Snapshot {
            stock: self.all("/stock").await?.into_iter().map(|item: StockItem| (item.id.clone(), item)).collect(),
            payments: self.all("/payments").await?.into_iter().map(|payment: Payment| (payment.id.clone(), payment)).collect(),
            shipments: self.all("/shipments").await?.into_iter().map(|shipment: Shipment| (shipment.id.clone(), shipment)).collect(),
            dashboards: self.rows(sellers, |seller| format!("/sellers/{seller}/dashboard?limit={DASHBOARD_LINES}")).await?,
            statistics: self.rows(customers.clone(), |customer| format!("/customers/{customer}/statistics")).await?,
            carts: self.rows(customers, |customer| format!("/carts/{customer}")).await?,
            deliveries: self.rows(acknowledged.deliveries.iter().cloned(), |id| format!("/deliveries/{id}")).await?,
            products: products.into_iter().map(|product| (product.id.clone(), product)).collect(),
            orders,
            dead_letters,
            histories: BTreeMap::new(),
        })
    }

    /// The whole histories of a snapshot's orders, payments and shipments.
    pub async fn histories(&self, snapshot: &mut Snapshot) -> anyhow::Result<()> {
        let orders: BTreeSet<String> = snapshot.orders.iter().map(|order| order.id.clone()).collect();
        for route in HISTORIES {
            let ids: BTreeSet<String> = match route {
                "orders" => orders.clone(),
                "payments" => snapshot.payments.keys().cloned().collect(),
                _ => snapshot.shipments.keys().cloned().collect(),
            };
            let ask = |reader: Self, id: String| async move { reader.pages::<Step>(&format!("/{route}/{id}/history")).await };
            snapshot.histories.insert(route, self.each(ids, ask).await?);
        }
        Ok(())
    }
}

/// The instances that serve nothing now, each with the reason. One that answers is enough to read everything, and says
/// nothing of the others.
pub async fn silent(urls: &[String]) -> BTreeMap<String, String> {
    let (mut silent, mut asked) = (BTreeMap::new(), JoinSet::new());
    for url in urls {
        let (url, instance) = (url.clone(), Connection::to([url]));
        asked.spawn(async move {
            let deadline = Instant::now() + AWAY;
            loop {
                let why = match tokio::time::timeout(AWAY, instance.once(instance.get("/orders?limit=1"))).await {
                    Ok(Ok(answer)) if answer.status.is_success() => return (url, None),
                    Ok(Ok(answer)) => format!("{} {}", answer.status, answer.text),
                    Ok(Err(why)) => format!("{why:#}"),
                    Err(_) => format!("no answer in {} s", AWAY.as_secs()),
                };
                if Instant::now() >= deadline {
                    return (url, Some(why));
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    while let Some(told) = asked.join_next().await {
        match told {
            Ok((url, Some(why))) => drop(silent.insert(url, why)),
            Ok((_, None)) => {}
            Err(why) => drop(silent.insert("an instance".to_owned(), why.to_string())),
        }
    }
    silent
}
