//! `daybook audit`: what must hold between all services' rows when all processes have ended, through the public routes
//! only. Rules are pure functions of one snapshot (`checks`); nothing here writes to the marketplace or repairs it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::time::Instant;

use daybook::args::{Output, Targets};
use daybook::out;

pub mod acknowledged;
pub mod amount;
pub mod breach;
pub mod checks;
pub mod reader;
pub mod rows;

use acknowledged::Acknowledged;
use breach::Breach;
use reader::{Reader, silent};
use rows::Snapshot;

/// How long nothing may change before what is seen is what is so: views may lag behind the log.
const QUIET: Duration = Duration::from_secs(2);
/// Pause between two looks at a marketplace that has not come to rest.
const LOOK: Duration = Duration::from_millis(500);
/// Most breaches and open processes that are printed; JSON has all breaches.
const SHOWN: usize = 50;

/// What to audit.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    targets: Targets,
    /// What a load was told is done, as it wrote it: each must be there exactly once
    #[arg(long, value_name = "FILE")]
    acknowledged: Option<PathBuf>,
    /// How long processes may take to end
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = daybook::args::span)]
    wait: Duration,
    /// How the result is printed
    #[arg(short, long, default_value = "table")]
    output: Output,
}

/// How much was looked at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Checked {
    products: usize,
    stock: usize,
    orders: usize,
    payments: usize,
    shipments: usize,
    dashboards: usize,
    customers: usize,
    history_steps: usize,
    acknowledged: usize,
}

/// What an audit says.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// there is no breach, and every instance was asked
    pub holds: bool,
    /// how much was looked at
    pub checked: Checked,
    /// how long it took until all had ended and was read
    pub seconds: f64,
    /// what does not hold
    pub breaches: Vec<Breach>,
    /// instances that did not answer, each with the reason: nothing is said of them
    pub silent: BTreeMap<String, String>,
}

/// Exit code 3 if anything does not hold, 1 if nothing is known against it but not every instance was asked.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let told = args.acknowledged.as_deref().map(Acknowledged::read).transpose()?.unwrap_or_default();
    let verdict = examine(&args.targets.urls, &told, args.wait).await?;
    match args.output {
        Output::Json => out::line(serde_json::to_string_pretty(&verdict)?),
        Output::Table => verdict.show(),
    }
    Ok(verdict.code())
}

/// Waits until all processes have ended, at most so long, and checks what is there then.
pub async fn examine(urls: &[String], told: &Acknowledged, wait: Duration) -> anyhow::Result<Verdict> {
    let began = Instant::now();
    let reader = Reader::of(urls);
    let mut snapshot = at_rest(&reader, told, began + wait).await?;
    reader.histories(&mut snapshot).await?;
    let (breaches, silent) = (checks::all(&snapshot, told), silent(urls).await);
    let (checked, seconds) = (Checked::of(&snapshot, told), began.elapsed().as_secs_f64());
    Ok(Verdict { holds: breaches.is_empty() && silent.is_empty(), checked, seconds, breaches, silent })
}

/// The rows once nothing is open and nothing is wrong, or once nothing changes any more, or at the deadline.
async fn at_rest(reader: &Reader, told: &Acknowledged, deadline: Instant) -> anyhow::Result<Snapshot> {
    let (mut last, mut since) = (None, Instant::now());
    loop {
        let snapshot = reader.snapshot(told).await?;
        let ended = checks::pending(&snapshot).is_empty();
        let digest = blake3::hash(&serde_json::to_vec(&snapshot).context("a snapshot as JSON")?);
        if last != Some(digest) {
            (last, since) = (Some(digest), Instant::now());
        }
        let quiet = ended && since.elapsed() >= QUIET;
        if quiet || (ended && checks::all(&snapshot, told).is_empty()) || Instant::now() >= deadline {
            return Ok(snapshot);
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Checked {
    fn of(snapshot: &Snapshot, told: &Acknowledged) -> Self {
        Self {
            products: snapshot.products.len(),
            stock: snapshot.stock.len(),
            orders: snapshot.orders.len(),
            payments: snapshot.payments.len(),
            shipments: snapshot.shipments.len(),
            dashboards: snapshot.dashboards.len(),
            customers: snapshot.statistics.len(),
            history_steps: snapshot.histories.values().flat_map(|histories| histories.values()).map(Vec::len).sum(),
            acknowledged: told.checkouts.len() + told.deliveries.len() + told.products.values().map(|writes| writes.revisions.len()).sum::<usize>(),
        }
    }
}

impl Verdict {
    /// What the process ends with.
    pub fn code(&self) -> ExitCode {
        match (self.holds, self.breaches.is_empty()) {
            (true, _) => ExitCode::SUCCESS,
            (false, true) => ExitCode::FAILURE,
            (false, false) => ExitCode::from(3),
        }
    }

    /// Prints it for people.
    pub fn show(&self) {
        let Checked { products, stock, orders, payments, shipments, dashboards, customers, history_steps, acknowledged } = &self.checked;
        out::line(format_args!(
            "Audited {orders} orders, {payments} payments, {shipments} shipments, {products} products, {stock} stock items, {dashboards} dashboards, \
             {customers} customers, {history_steps} steps of histories and {acknowledged} acknowledged writes in {:.1} s.",
            self.seconds
        ));
        for (url, why) in &self.silent {
            out::line(format_args!("{url} was not asked, and nothing is said of what it serves: {why}"));
        }
        if self.breaches.is_empty() {
            return out::line(if self.holds { "Everything holds." } else { "Everything that was looked at holds; not every instance was." });
        }
        let mut table = out::table(["check", "entity", "detail"]);
        table.add_rows(self.breaches.iter().take(SHOWN).map(|breach| [&breach.check, &breach.entity, &breach.detail]));
        out::line(table);
        out::line(format_args!("{} breaches, {} of them shown; `-o json` has all.", self.breaches.len(), self.breaches.len().min(SHOWN)));
    }
}
