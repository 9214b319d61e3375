//! One run of `daybook load` against a server, and the medians of several.

use std::process::Command;

use serde_json::Value;

use crate::server::Server;

/// The kinds whose latencies are told.
const KINDS: [&str; 3] = ["checkout", "cart-addition", "delivery-update"];

/// What a load said.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub per_second: f64,
    /// p50 and p99 of each kind, in milliseconds
    latencies: [(f64, f64); KINDS.len()],
    /// processor time of a transaction
    pub services_ms: Option<f64>,
    load_ms: Option<f64>,
    broker_ms: Option<f64>,
}

impl Run {
    /// Plays a load, and stops the bench if its audit finds anything.
    pub fn of(server: &Server, how: &str, others: &[u32]) -> Self {
        let mut command = Command::new(&server.binary);
        command.args(["load", "-o", "json", "--url", &server.url]).args(how.split(' '));
        for id in others {
            command.args(["--pid", &id.to_string()]);
        }
        let done = command.output().unwrap();
        let (said, noted) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "a load did not hold ({how}): {said}{noted}");
        let report: Value = serde_json::from_str(&said).unwrap();
        let latencies = KINDS.map(|kind| {
            let all = report["latencies"].as_array().unwrap();
            let of = |field: &str| all.iter().find(|each| each["name"] == kind).and_then(|each| each[field].as_f64()).unwrap_or(f64::NAN);
            (of("p50_ms"), of("p99_ms"))
        });
        let cpu = |field: &str| report["cpu"][field].as_f64();
        Self {
            per_second: report["answered_per_second"].as_f64().unwrap(),
            latencies,
            services_ms: cpu("services_ms"),
            load_ms: cpu("load_ms"),
            broker_ms: report["cpu"]["processes_ms"][0][1].as_f64(),
        }
    }
}

/// Of each figure by itself.
pub fn median_of(runs: &[Run]) -> Run {
    let of = |figure: &dyn Fn(&Run) -> Option<f64>| {
        let mut all: Vec<f64> = runs.iter().filter_map(figure).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let mut median = Run {
        per_second: of(&|run| Some(run.per_second)).unwrap_or(f64::NAN),
        services_ms: of(&|run| run.services_ms),
        load_ms: of(&|run| run.load_ms),
        broker_ms: of(&|run| run.broker_ms),
        ..Run::default()
    };
    for at in 0..KINDS.len() {
        median.latencies[at] = (of(&|run| Some(run.latencies[at].0)).unwrap_or(f64::NAN), of(&|run| Some(run.latencies[at].1)).unwrap_or(f64::NAN));
    }
    median
}

/// Prints them, one a line.
pub fn table(runs: &[(String, Run)]) {
    println!("{:<24} {:>14} {:>20} {:>20} {:>20} {:>34}", "", "transactions/s", KINDS[0], KINDS[1], KINDS[2], "CPU ms/transaction");
    println!("{:<24} {:>14} {:>20} {:>20} {:>20} {:>34}", "", "", "p50 / p99 ms", "p50 / p99 ms", "p50 / p99 ms", "service / load / broker");
    for (name, run) in runs {
        let [checkout, addition, delivery] = run.latencies.map(|(middle, late)| format!("{middle:.1} / {late:.1}"));
        let ms = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"));
        let cpu = [run.services_ms, run.load_ms, run.broker_ms].map(ms).join(" / ");
        println!("{name:<24} {:>14.1} {checkout:>20} {addition:>20} {delivery:>20} {cpu:>34}", run.per_second);
    }
}
