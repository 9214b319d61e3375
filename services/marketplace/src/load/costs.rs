//! What a load costs in processor time: of itself, of the services, and of whatever else is named. Where a figure cannot
//! be had it is left out, and never guessed.

use std::time::Duration;

use daybook::client::connection::Connection;
use daybook::cpu;
use serde::Serialize;

/// Longest that an instance may take to say what it has used.
const ASK: Duration = Duration::from_secs(5);
/// The metrics that say it, and since when.
const USED: &str = "daybook_process_cpu_seconds_total ";
const SINCE: &str = "process_start_time_seconds ";

/// What an instance has used since its start.
struct Used {
    since: String,
    seconds: f64,
}

/// Processor time used until now, in seconds.
pub struct Spent {
    load: Option<f64>,
    /// of each instance
    services: Vec<Option<Used>>,
    /// of each process that was named
    processes: Vec<(u32, Option<f64>)>,
}

/// What one transaction took of the processors.
#[derive(Clone, Debug, Serialize)]
pub struct Costs {
    /// milliseconds of the load itself
    load_ms: Option<f64>,
    /// milliseconds of all instances together; none where one of them was not there all the time
    services_ms: Option<f64>,
    /// milliseconds of each other process
    processes_ms: Vec<(u32, Option<f64>)>,
}

impl Spent {
    /// By now.
    pub async fn now(urls: &[String], processes: &[u32]) -> Self {
        let mut services = vec![];
        for url in urls {
            services.push(asked(&Connection::to([url]).within(ASK)).await);
        }
        Self { load: cpu::seconds(None), services, processes: processes.iter().map(|id| (*id, cpu::seconds(Some(*id)))).collect() }
    }

    /// Since then, for so many transactions.
    pub fn each_since(&self, before: &Self, transactions: u64) -> Costs {
        let count = f64::from(u32::try_from(transactions).unwrap_or(u32::MAX));
        let each = |seconds: f64| (count > 0.0).then(|| (seconds / count * 1_000_000.0).round() / 1_000.0);
        let between = |now: Option<f64>, then: Option<f64>| each((now? - then?).max(0.0));
        // One that was started anew meanwhile has lost its account.
        let of_instance = |(now, then): (&Option<Used>, &Option<Used>)| {
            let (now, then) = (now.as_ref()?, then.as_ref()?);
            (now.since == then.since).then_some(now.seconds - then.seconds)
        };
        let services: Option<f64> = self.services.iter().zip(&before.services).map(of_instance).sum();
        Costs {
            load_ms: between(self.load, before.load),
            services_ms: services.and_then(each),
            processes_ms: self.processes.iter().zip(&before.processes).map(|((id, now), (_, then))| (*id, between(*now, *then))).collect(),
        }
    }
}

impl Costs {
    /// For people.
    pub fn shown(&self) -> String {
        let one = |name: String, ms: Option<f64>| format!("{name} {}", ms.map_or_else(|| "not known".to_owned(), |ms| format!("{ms:.3} ms")));
        let mut all = vec![one("load".to_owned(), self.load_ms), one("services".to_owned(), self.services_ms)];
        all.extend(self.processes_ms.iter().map(|(id, ms)| one(format!("process {id}"), *ms)));
        all.join(", ")
    }
}

async fn asked(instance: &Connection) -> Option<Used> {
    let answer = instance.once(instance.get("/metrics")).await.ok().filter(|answer| answer.status.is_success())?;
    let value = |name: &str| answer.text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    Some(Used { since: value(SINCE)?.to_owned(), seconds: value(USED)?.parse().ok()? })
}
