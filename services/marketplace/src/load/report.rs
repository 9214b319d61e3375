//! What a load says at its end: for each transaction its latencies, and what went otherwise than well.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;

use super::costs::{Costs, Spent};
use super::tally::{Counts, Measure, NOT_BEGUN, Sums, UNANSWERED};
use crate::audit::Verdict;
use crate::audit::breach::Breach;
use daybook::out;

/// Most breaches that are printed; JSON has all.
const SHOWN: usize = 20;

/// The latencies of one kind, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Latencies {
    name: &'static str,
    /// a transaction, not a part of one
    transaction: bool,
    count: u64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p99_9_ms: f64,
    max_ms: f64,
}

/// A load's result.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// there is no breach, neither under load nor at rest
    pub holds: bool,
    seed: u64,
    run: String,
    mode: String,
    seconds: f64,
    transactions: u64,
    /// those of them that were answered
    answered: u64,
    answered_per_second: f64,
    /// processor time of a transaction
    cpu: Costs,
    latencies: Vec<Latencies>,
    /// transaction -> what -> how often
    errors: BTreeMap<&'static str, BTreeMap<String, u64>>,
    refusals: BTreeMap<&'static str, BTreeMap<String, u64>>,
    repeats: BTreeMap<&'static str, BTreeMap<String, u64>>,
    sampled: BTreeMap<&'static str, u64>,
    /// what did not hold under load
    breaches: Vec<Breach>,
    audit: Option<Verdict>,
}

/// What was played.
pub struct Played {
    /// the seed
    pub seed: u64,
    /// the run's name
    pub run: String,
    /// how it was driven, for people
    pub mode: String,
    /// from the first transaction to the last answer
    pub seconds: f64,
    /// processor time used before and after
    pub spent: (Spent, Spent),
}

fn grouped(counts: Counts) -> BTreeMap<&'static str, BTreeMap<String, u64>> {
    let mut groups: BTreeMap<&'static str, BTreeMap<String, u64>> = BTreeMap::new();
    for ((what, name), count) in counts {
        groups.entry(what.name()).or_default().insert(name, count);
    }
    groups
}

impl Report {
    /// Of what was counted, and of the audit, where there was one.
    pub fn of(played: Played, sums: Sums, breaches: Vec<Breach>, audit: Option<Verdict>) -> Self {
        let latencies: Vec<Latencies> = Measure::ALL
            .into_iter()
            .filter_map(|what| {
                let histogram = sums.latencies.get(&what)?;
                let at = |quantile: f64| milliseconds(histogram.value_at_quantile(quantile));
                Some(Latencies {
                    name: what.name(),
                    transaction: what.whole(),
                    count: histogram.len(),
                    p50_ms: at(0.5),
                    p90_ms: at(0.9),
                    p99_ms: at(0.99),
                    p99_9_ms: at(0.999),
                    max_ms: milliseconds(histogram.max()),
                })
            })
            .collect();
        let transactions: u64 = latencies.iter().filter(|kind| kind.transaction).map(|kind| kind.count).sum();
        let open =
            |((what, kind), count): (&(Measure, String), &u64)| if what.whole() && [UNANSWERED, NOT_BEGUN].contains(&kind.as_str()) { *count } else { 0 };
        let answered = transactions.saturating_sub(sums.errors.iter().map(open).sum());
        let Played { seed, run, mode, seconds, spent: (before, after) } = played;
        Self {
            holds: breaches.is_empty() && audit.as_ref().is_none_or(|verdict| verdict.holds),
            seed,
            run,
            mode,
            seconds,
            transactions,
            answered,
            answered_per_second: (f64::from(u32::try_from(answered).unwrap_or(u32::MAX)) / seconds.max(0.001) * 10.0).round() / 10.0,
            cpu: after.each_since(&before, answered),
            latencies,
            errors: grouped(sums.errors),
            refusals: grouped(sums.refusals),
            repeats: grouped(sums.repeats),
            sampled: sums.sampled,
            breaches,
            audit,
        }
    }

    /// What the process ends with.
    pub fn code(&self) -> ExitCode {
        match &self.audit {
            _ if !self.breaches.is_empty() => ExitCode::from(3),
            Some(verdict) => verdict.code(),
            None => ExitCode::SUCCESS,
        }
    }

    /// Prints it for people.
    pub fn show(&self) {
        out::line(format_args!(
            "{} of {} transactions answered in {:.1} s, {:.1}/s; {}; --seed {} (run {})",
            self.answered, self.transactions, self.seconds, self.answered_per_second, self.mode, self.seed, self.run
        ));
        out::line(format_args!("processor time of a transaction: {}", self.cpu.shown()));
        let mut table = out::table(["", "count", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"]);
        for Latencies { name, transaction, count, p50_ms, p90_ms, p99_ms, p99_9_ms, max_ms } in &self.latencies {
            let name = if *transaction { (*name).to_owned() } else { format!("  {name}") };
            table.add_row([vec![name, count.to_string()], [p50_ms, p90_ms, p99_ms, p99_9_ms, max_ms].map(|number| format!("{number:.2}")).to_vec()].concat());
        }
        out::line(table);
        for (title, counts) in [("errors", &self.errors), ("refusals of the business", &self.refusals), ("repeated requests", &self.repeats)] {
            let each = counts.iter().flat_map(|(what, counts)| counts.iter().map(move |(name, count)| format!("{what} {name} {count}")));
            let all: Vec<String> = each.collect();
            out::line(format_args!("{title}: {}", if all.is_empty() { "none".to_owned() } else { all.join(", ") }));
        }
        let sampled: Vec<String> = self.sampled.iter().map(|(what, count)| format!("{count} {what}")).collect();
        out::line(format_args!("checked under load: {}; breaches: {}", sampled.join(", "), self.breaches.len()));
        for breach in self.breaches.iter().take(SHOWN) {
            out::line(format_args!("  {} {}: {}", breach.check, breach.entity, breach.detail));
        }
        if let Some(verdict) = &self.audit {
            verdict.show();
        }
    }
}

/// Of microseconds; a latency has at most 32 bits of them, which a double has exactly.
fn milliseconds(microseconds: u64) -> f64 {
    f64::from(u32::try_from(microseconds).unwrap_or(u32::MAX)) / 1_000.0
}
