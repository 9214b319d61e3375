//! `daybook replay --dry-run`: folds a log with this program's code, and says before a release what it finds. Writes
//! nothing to the log, nor where it lies.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use eventstore::control::Control;
use eventstore::memory::Memory;
use eventstore::{Fault, Log, Offset};
use schemas::{Partition, Topic};
use tokio::signal::unix::{SignalKind, signal};

use crate::application::Application;
use crate::args::{Output, asynchronous};
use crate::config::Cluster;
use crate::location::{Layout, LogLocation};
use crate::misuse::misused;
use crate::out;

mod findings;
mod passing;
mod report;
mod trial;

pub use report::Report;

use trial::{Bench, Of};

/// What to replay.
#[derive(clap::Args)]
pub struct Args {
    /// Only looks: events that cannot be decoded, folds that panic, invariants that break, rows that would differ, and how long folding anew takes
    #[arg(long)]
    dry_run: bool,
    /// A data directory that no process has open [env: DAYBOOK_DATA] [default: ./daybook-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    cluster: Cluster,
    /// How the result is printed
    #[arg(short, long, default_value = "table")]
    output: Output,
}

/// Exit code 0 only when nothing is found; 3 where something is, 1 where it could not be looked.
pub fn run(args: Args, application: &Application) -> anyhow::Result<ExitCode> {
    if !args.dry_run {
        misused!("replay changes nothing, and is asked for as such: `replay --dry-run`; views are folded anew by `projections rebuild`");
    }
    let here = || LogLocation::here(None, false).context("this program was built without a log of its own: name Kafka's brokers with --brokers");
    let at = args.cluster.location(None, None).map_or_else(here, Ok)?;
    let data = args.data.or_else(|| std::env::var_os("DAYBOOK_DATA").map(PathBuf::from)).unwrap_or_else(crate::args::default_data);
    let report = look(&data, at, application)?;
    match args.output {
        Output::Json => out::line(serde_json::to_string_pretty(&report)?),
        Output::Table => report.show(),
    }
    Ok(if report.found_nothing() { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// Folds the log, and what lies in the data directory beside it.
pub fn look(data: &Path, at: LogLocation, application: &Application) -> anyhow::Result<Report> {
    let (layout, memory, here) = (Layout::of(data), Memory::default(), at.is_here());
    anyhow::ensure!(!here || layout.log().is_dir(), "{} holds no Daybook data: name the directory that `daybook up --data` was given", data.display());
    let log = at.look(&layout, &memory, application.rules)?;
    let control = Control::look(Arc::clone(&log))?;
    let mut all = vec![];
    for capability in application.services() {
        if has_events(log.as_ref(), &capability.service.events())? {
            // Heads first: they decode every event, views only those that they show.
            let service = Arc::new(capability.service);
            all.push((layout.heads(service.name)?, Of::Heads(service)));
            for view in capability.views {
                all.push((layout.view(&view.name)?, Of::View(view)));
            }
        }
    }
    anyhow::ensure!(!all.is_empty(), "{} holds no events: there is nothing to replay", if here { data.display().to_string() } else { "the log".to_owned() });
    let (scratch, findings, ends) = (Scratch::new(), Rc::new(RefCell::default()), told_to_end());
    let bench = Bench { control: &control, scratch: &scratch.0, findings: Rc::clone(&findings), ends: &ends };
    let (mut folds, terminal) = (vec![], std::io::stderr().is_terminal());
    for (live, of) in &all {
        if terminal {
            out::note(format!("folding {} ({} of {})", of.name(), folds.len() + 1, all.len()));
        }
        let fold = bench.tries(of, Some(live.as_path()).filter(|live| live.is_dir()));
        anyhow::ensure!(!ends.load(Ordering::Relaxed), "it was told to end before it was through: nothing is proven, and nothing was changed");
        folds.push(fold?);
    }
    Ok(Report::of(folds, findings.take()))
}

/// A log that is older than the service has none of its topics.
fn has_events(log: &dyn Log, topic: &Topic) -> Result<bool, Fault> {
    for partition in (0..log.partitions()).map(Partition) {
        match log.end(topic, partition) {
            Ok(Offset(0)) | Err(Fault::Fatal(_)) => {}
            Ok(_) => return Ok(true),
            Err(fault) => return Err(fault),
        }
    }
    Ok(false)
}

/// A directory to fold in, which goes however this ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("daybook-replay-{}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(why) = std::fs::remove_dir_all(&self.0)
            && why.kind() != std::io::ErrorKind::NotFound
        {
            out::note(format!("{} is left: {why}", self.0.display()));
        }
    }
}

/// Set by the first Ctrl-C or SIGTERM, so that what was begun is cleared away.
fn told_to_end() -> Arc<AtomicBool> {
    let ends = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ends);
    let wait = async move {
        let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select!(_ = interrupted.recv() => {}, _ = terminated.recv() => {});
        told.store(true, Ordering::Relaxed);
        Ok(())
    };
    let _ends_with_the_process = std::thread::spawn(move || asynchronous(wait));
    ends
}
