//! Load and micro benches, each beside its limit in the same run; ratios are what counts.

use std::time::{Duration, Instant};

/// What is measured runs with the allocator of the binary that is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One measurement of ours between two of the limit's, so that a machine whose speed drifts does not decide.
pub struct Paired {
    ours: Vec<f64>,
    limit: Vec<f64>,
}

impl Paired {
    /// Runs both `rounds` times in turn, after one round that does not count. Each gives how many things it did.
    pub fn run(rounds: usize, mut ours: impl FnMut() -> u64, mut limit: impl FnMut() -> u64) -> Self {
        let mut paired = Self { ours: vec![], limit: vec![] };
        for round in 0..=rounds {
            let (a, b, c) = (rate(&mut limit), rate(&mut ours), rate(&mut limit));
            if round > 0 {
                paired.ours.push(b);
                paired.limit.push(f64::midpoint(a, c));
            }
        }
        paired
    }

    /// One line: both medians and the median of the rounds' ratios, with its spread; and the ratio that is aimed at, where there is one.
    pub fn report(&self, name: &str, ours: &str, limit: &str, aim: Option<f64>) -> String {
        let ratios: Vec<f64> = self.ours.iter().zip(&self.limit).map(|(ours, limit)| ours / limit).collect();
        let (low, middle, high) = (sorted(&ratios)[0], median(&ratios), sorted(&ratios)[ratios.len() - 1]);
        let aim = aim.map(|aim| format!(", aim {aim:.1}")).unwrap_or_default();
        format!("{name}: {ours} {:.0}/s, {limit} {:.0}/s, ratio {middle:.2} ({low:.2} to {high:.2}){aim}", median(&self.ours), median(&self.limit))
    }
}

/// Median, 99th percentile and maximum.
pub fn percentiles(took: &mut [Duration]) -> (Duration, Duration, Duration) {
    took.sort_unstable();
    let at = |part: f64| took.get(((took.len() as f64 * part) as usize).min(took.len().saturating_sub(1))).copied().unwrap_or_default();
    (at(0.5), at(0.99), at(1.0))
}

fn rate(work: &mut impl FnMut() -> u64) -> f64 {
    let began = Instant::now();
    let done = work();
    done as f64 / began.elapsed().max(Duration::from_nanos(1)).as_secs_f64()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: &[f64]) -> f64 {
    sorted(values)[values.len() / 2]
}
