//! What a trial says, for people and for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::findings::{Finding, Findings, Kind};
use super::trial::{Live, Tried};
use crate::out;

/// All of it.
#[derive(Serialize)]
pub struct Report {
    /// how many findings there are of each kind
    counts: BTreeMap<Kind, u64>,
    folds: Vec<Tried>,
    /// the first findings of each kind
    findings: Vec<Finding>,
    /// how long it takes to fold all anew, in seconds: side by side, on this machine's processors
    seconds: f64,
    processors: usize,
}

impl Report {
    /// Of these folds and what they found.
    pub fn of(folds: Vec<Tried>, findings: Findings) -> Self {
        let (counts, findings) = findings.told();
        let processors = std::thread::available_parallelism().map_or(1, Into::into);
        let longest = folds.iter().map(|fold| fold.seconds).fold(0.0, f64::max);
        let side_by_side = folds.iter().map(|fold| fold.seconds).sum::<f64>() / f64::from(u32::try_from(processors).unwrap_or(1));
        Self { counts, folds, findings, seconds: longest.max(side_by_side), processors }
    }

    /// Whether nothing is wrong, and no row differs.
    pub fn found_nothing(&self) -> bool {
        self.counts.is_empty() && self.folds.iter().all(|fold| fold.differences.is_empty())
    }

    /// For people.
    pub fn show(&self) {
        let mut table = out::table(["fold", "events", "findings", "live rows", "folding anew"]);
        for fold in &self.folds {
            let live = match fold.live {
                Live::Same => "same".to_owned(),
                Live::Differ if fold.differences.len() < 10 => format!("{} differ", fold.differences.len()),
                Live::Differ => "10 or more differ".to_owned(),
                Live::None => "none here".to_owned(),
                Live::AnotherShape => "another shape: folded anew".to_owned(),
                Live::Unknown => "cannot be compared".to_owned(),
            };
            table.add_row([&fold.name, &fold.events.to_string(), &fold.findings.to_string(), &live, &about(fold.seconds)]);
        }
        out::line(table);
        self.findings.iter().for_each(|finding| out::line(said(finding)));
        for (kind, count) in &self.counts {
            let named = self.findings.iter().filter(|finding| finding.kind == *kind).count() as u64;
            if *count > named {
                out::line(format!("{kind}: {} more, {count} in all", count - named));
            }
        }
        for fold in &self.folds {
            for difference in &fold.differences {
                let shown = |row: &Option<String>| row.as_deref().unwrap_or("(no such row)").to_owned();
                out::line(format!("{}: key {}\n  live     {}\n  folded   {}", fold.name, difference.key, shown(&difference.live), shown(&difference.rebuilt)));
            }
        }
        if self.findings.iter().any(|finding| finding.place.is_some() && finding.kind != Kind::Invariant) {
            out::line(
                "Events named above were passed over, and what follows them was folded without them: an aggregate of which one is missing is folded no further, and rows may differ by that alone.",
            );
        }
        let all = format!("Folding all of it anew takes {}, side by side on {} processors as fast as here.", about(self.seconds), self.processors);
        out::line(if self.found_nothing() { format!("Nothing was found. {all}") } else { format!("See above what was found. {all}") });
    }
}

fn said(finding: &Finding) -> String {
    let Finding { kind, place, event, aggregate, folds, why } = finding;
    let named = [place, event, aggregate].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ");
    let named = if named.is_empty() { String::new() } else { format!("{named}: ") };
    format!("{kind}: {named}{why} ({})", folds.join(", "))
}

fn about(seconds: f64) -> String {
    match seconds {
        ..1.0 => "under 1 s".to_owned(),
        ..120.0 => format!("about {seconds:.0} s"),
        ..7_200.0 => format!("about {:.0} min", seconds / 60.0),
        _ => format!("about {:.1} h", seconds / 3_600.0),
    }
}
