//! `daybook load`: customers and sellers at work, through the public routes only, every transaction of the benchmark
//! *Online Marketplace*. Measures from the outside, repeats under its ids until answered, and audits what it left.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use crate::audit;
use daybook::args::{Output, Targets, address, span};
use daybook::cpu;
use daybook::misuse::misused;
use daybook::out;

mod caller;
mod chores;
mod costs;
mod drive;
mod goods;
mod opening;
mod plan;
mod report;
mod session;
mod state;
mod tally;
mod watch;

use caller::Caller;
use costs::Spent;
use drive::Mode;
use plan::{IDS, Plan, Skew};
use report::{Played, Report};
use state::{Customer, LoadState};

/// Clients, unless told otherwise.
const CLIENTS: usize = 8;
/// How long processes may take to end before the audit.
const AUDIT_WAIT: Duration = Duration::from_secs(60);
/// Highest rate.
const RATE_MAX: f64 = 100_000.0;

/// What to play.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    targets: Targets,
    /// How long transactions are begun
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = span)]
    duration: Duration,
    /// Closed loop: so many clients at once [default: 8]
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    clients: Option<usize>,
    /// Open loop: so many transactions a second
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Open loop: most transactions under way at once
    #[arg(long, value_name = "N", default_value_t = 256)]
    in_flight: usize,
    /// Draws ids and everything else; each is used once on one marketplace [default: a new one]
    #[arg(long)]
    seed: Option<u64>,
    /// Which sellers and products are chosen
    #[arg(long, value_enum, default_value = "uniform")]
    skew: Skew,
    /// Sellers of this load, of 10 products each
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..IDS))]
    sellers: u64,
    /// Customers of this load; each plays one session at a time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..IDS))]
    customers: u64,
    /// How long answers are waited for when the duration is over
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = span)]
    drain: Duration,
    /// Where everything that the marketplace acknowledged is written, for `daybook audit --acknowledged`
    #[arg(long, value_name = "FILE")]
    acknowledged: Option<PathBuf>,
    /// Another process on this machine whose processor time is told too, as a broker's; can be given more than once
    #[arg(long = "pid", value_name = "ID")]
    processes: Vec<u32>,
    /// Does not audit at the end
    #[arg(long)]
    no_audit: bool,
    /// Where it audits, if operators' routes have a listener of their own (--admin-listen) [default: --url]
    #[arg(long, value_name = "URL", value_delimiter = ',', value_parser = address, conflicts_with = "no_audit")]
    audit_url: Vec<String>,
    /// How the result is printed
    #[arg(short, long, default_value = "table")]
    output: Output,
}

impl Args {
    fn mode(&self) -> anyhow::Result<Mode> {
        if let Some(each_second) = self.rate {
            if !(each_second > 0.0 && each_second <= RATE_MAX) {
                misused!("--rate {each_second}: more than 0 and at most {RATE_MAX} transactions a second");
            }
            if !(1..=10_000).contains(&self.in_flight) {
                misused!("--in-flight {}: 1 to 10000", self.in_flight);
            }
            return Ok(Mode::Rate { each_second, in_flight: self.in_flight });
        }
        let clients = self.clients.unwrap_or(CLIENTS);
        let most = usize::try_from(self.customers)?.min(10_000);
        if !(1..=most).contains(&clients) {
            misused!("--clients {clients}: 1 to {most}, a customer plays one session at a time; see --customers");
        }
        Ok(Mode::Clients(clients))
    }
}

/// Exit code 3 if anything did not hold, under load or at rest.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mode = args.mode()?;
    if let Some(id) = args.processes.iter().find(|id| cpu::seconds(Some(**id)).is_none()) {
        misused!("--pid {id}: there is no such process, or its processor time cannot be read here");
    }
    let seed = args.seed.unwrap_or_else(|| rand::rng().random_range(0..=u64::from(u32::MAX)));
    let plan = Arc::new(Plan::new(seed, args.sellers, args.customers, args.skew));
    let audited = if args.audit_url.is_empty() { &args.targets.urls } else { &args.audit_url };
    if !args.no_audit {
        audit::reader::Reader::of(audited).dead_letters().await?; // nobody learns after an hour's load that it cannot be audited
    }
    let caller = Arc::new(Caller::at(&args.targets.urls));
    let (products, revisions) = opening::prepare(&plan, &caller).await?;
    let before = Spent::now(&args.targets.urls, &args.processes).await;
    let began = Instant::now();
    let stop = began + args.duration;
    let state = Arc::new(LoadState::new(plan, caller, products, stop + args.drain));
    for (product, revision) in state.products.iter().zip(revisions) {
        state.tally.acknowledged(|told| told.products.entry(product.id.clone()).or_default().revisions.push(revision));
    }
    for at in (0..usize::try_from(args.customers)?).rev() {
        state.welcome(Customer::new(state.plan.customer(at)));
    }
    drive::run(&state, mode, began, stop).await?;
    let spent = Spent::now(&args.targets.urls, &args.processes).await;
    let seconds = began.elapsed().max(args.duration).as_secs_f64();
    let (mut sums, breaches) = state.tally.finish();
    sums.acknowledged.run.clone_from(&state.plan.run);
    if let Some(file) = &args.acknowledged {
        sums.acknowledged.write(file)?;
    }
    let verdict = match args.no_audit {
        true => None,
        false => Some(audit::examine(audited, &sums.acknowledged, AUDIT_WAIT).await?),
    };
    let mode = match mode {
        Mode::Clients(clients) => format!("closed loop, {clients} clients"),
        Mode::Rate { each_second, in_flight } => format!("open loop, {each_second} a second, at most {in_flight} under way"),
    };
    let played = Played { seed, run: state.plan.run.clone(), mode, seconds, spent: (before, spent) };
    let report = Report::of(played, sums, breaches, verdict);
    match args.output {
        Output::Json => out::line(serde_json::to_string_pretty(&report)?),
        Output::Table => report.show(),
    }
    Ok(report.code())
}
