//! All events of a topic into durable rows, from nothing and beside rows that are served, beside a drain of the same topic.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::Paired;
use eventstore::control::Control;
use eventstore::memory::Memory;
use eventstore::{Fault, Log};
use projections::{BULK, FoldError, Overlay, Projection, Rebuild, Seen, Step, View};
use schemas::Topic;

const ROUNDS: usize = 3;

/// Counts the events of each subject.
fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    rows.update::<u64>(&seen.envelope.subject, |count| *count += 1)?;
    Ok(())
}

/// A view of `events`, named anew each time, folded from nothing until it serves and is on the disk.
fn caught_up(log: &Arc<dyn Log>, events: &Topic, dir: &Path, number: u32) -> Result<Projection, Fault> {
    let view = Arc::new(View { name: format!("counts{number}"), shape: 1, topic: events.clone(), fold, queue: None, readable_from: 1 });
    let projection = Projection::open(view, &Control::open(Arc::clone(log))?, dir, &Memory::default(), Box::new(|| ()))?;
    while projection.serves(&vec![], None).is_err() {
        projection.turn(Duration::from_millis(100), BULK)?;
    }
    projection.rows().flush()?;
    Ok(projection)
}

/// What was measured, a line for each: the events of `log`, `count` of them, into rows below `dir`, beside `limit`, which reads the
/// same and only counts.
pub fn replays(log: &Arc<dyn Log>, events: &Topic, dir: &Path, count: u64, mut limit: impl FnMut() -> u64) -> Vec<String> {
    let (mut number, mut told) = (0, vec![]);
    let mut told_of = |name: String, ours: &mut dyn FnMut() -> u64| told.push(Paired::run(ROUNDS, ours, &mut limit).report(&name, "a view", "a drain", None));
    told_of(format!("replay of {count} events into durable rows"), &mut || {
        number += 1;
        drop(caught_up(log, events, dir, number).unwrap());
        count
    });
    let served = caught_up(log, events, dir, 0).unwrap();
    for (accepts, name) in [(true, "rebuilt beside and swapped in"), (false, "the same, compared row by row")] {
        told_of(format!("{count} events {name}"), &mut || {
            served.rebuild(Rebuild { until: None, rate: None, swaps: true, accepts, keeps: false, actor: None, dry_run: false }).unwrap();
            while !matches!(served.step(Instant::now()).unwrap(), Step::Swapped(..)) {}
            count
        });
    }
    told
}
