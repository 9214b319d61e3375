//! What all clients of a load share: who plays, with what, and what is known of it. A customer plays one session at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use daybook::client::connection::{Command, Method};
use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::caller::{Caller, CommandEnd};
use super::plan::Plan;
use super::tally::{Measure, Tally, UNANSWERED};

/// A product as its seller knows it.
pub struct Product {
    /// `<seller>-<product>`
    pub id: String,
    /// in cents, as last acknowledged
    pub price: Mutex<i64>,
    /// The version that stands. Held while it is replaced, so that versions only rise.
    pub version: tokio::sync::Mutex<u64>,
    /// the version as last acknowledged
    pub known: Mutex<u64>,
}

/// A customer as itself knows it.
#[derive(Debug)]
pub struct Customer {
    /// its number
    pub id: u64,
    /// how many sessions it began
    pub sessions: u64,
    /// product -> pieces in its cart; none while something that was sent has no answer
    pub cart: Option<BTreeMap<String, i64>>,
    /// product -> the newest version it was sold
    pub seen: BTreeMap<String, u64>,
}

impl Customer {
    /// One who has bought nothing yet.
    pub fn new(id: u64) -> Self {
        Self { id, sessions: 0, cart: Some(BTreeMap::new()), seen: BTreeMap::new() }
    }
}

/// Everything that is shared.
pub struct LoadState {
    /// what is played
    pub plan: Arc<Plan>,
    /// the way to the marketplace
    pub caller: Arc<Caller>,
    /// what is measured
    pub tally: Tally,
    /// ten of each seller, in order
    pub products: Vec<Product>,
    /// who plays no session now
    customers: Mutex<Vec<Customer>>,
    /// how many those are
    free: Semaphore,
    /// when nothing is waited for any more
    pub deadline: Instant,
}

impl LoadState {
    /// Of these products; customers have not come yet.
    pub fn new(plan: Arc<Plan>, caller: Arc<Caller>, products: Vec<Product>, deadline: Instant) -> Self {
        Self { plan, caller, tally: Tally::default(), products, customers: Mutex::default(), free: Semaphore::new(0), deadline }
    }

    /// A customer comes, or comes back.
    pub fn welcome(&self, customer: Customer) {
        self.customers.lock().push(customer);
        self.free.add_permits(1);
    }

    /// A customer who plays no session, once there is one; none if the load is over before.
    pub async fn customer(&self, random: &mut StdRng) -> Option<Customer> {
        let free = tokio::time::timeout_at(self.deadline, self.free.acquire()).await.ok()?.ok()?;
        if Instant::now() >= self.deadline {
            return None;
        }
        free.forget();
        let mut customers = self.customers.lock();
        let at = random.random_range(0..customers.len().max(1));
        (at < customers.len()).then(|| customers.swap_remove(at))
    }

    /// Sends a command of this kind and waits for its end.
    pub async fn command(&self, what: Measure, method: Method, path: &str, id: &str, body: &serde_json::Value) -> CommandEnd {
        let ended = self.caller.command(&self.tally, what, &Command { method, path, id, occurred_at: None, body }, self.deadline).await;
        match &ended {
            CommandEnd::Accepted(..) => {}
            CommandEnd::Refused(code) => self.tally.refused(what, code),
            CommandEnd::Broken(kind) => self.tally.error(what, kind),
            CommandEnd::Unanswered => self.tally.error(what, UNANSWERED),
        }
        ended
    }

    /// Reads a row.
    pub async fn read(&self, what: Measure, path: &str, position: Option<&str>) -> CommandEnd {
        self.caller.read(&self.tally, what, path, position, self.deadline).await
    }
}

/// Cents as an amount.
pub fn amount(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
