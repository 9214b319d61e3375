//! Topics and partitions as operators name them.

use schemas::{Partition, Stream, Topic, topic};

use super::super::app::App;
use super::super::failure::Failure;

/// Questions to the log at the same time.
const ASKED_AT_ONCE: usize = 16;

/// Every topic of the log.
pub fn all(app: &App) -> Vec<Topic> {
    let of_services = app.operator.services.values().flat_map(|service| [service.commands(), service.events(), service.dead_letters()]);
    // Who owns what is kept only by logs that many processes share.
    let shared = [Stream::Replies, Stream::Claims, Stream::Control].map(topic).into_iter().filter(|topic| app.log.start(topic, Partition(0)).is_ok());
    of_services.chain(shared).collect()
}

/// Every partition number of the log.
pub fn partitions(app: &App) -> impl Iterator<Item = Partition> + use<> {
    (0..app.log.partitions()).map(Partition)
}

/// A topic of this log by its name.
pub fn topic_of(app: &App, name: &str) -> Result<Topic, Failure> {
    let all = all(app);
    all.iter().find(|topic| topic.as_str() == name).cloned().ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(Topic::as_str).collect();
        Failure::unknown_name(format!("no topic '{name}': one of {}", names.join(", ")))
    })
}

/// A partition of this log.
pub fn partition_in(app: &App, number: u16) -> Result<Partition, Failure> {
    if number < app.log.partitions() {
        Ok(Partition(number))
    } else {
        Err(Failure::unknown_name(format!("no partition {number}: they are numbered from 0 to {}", app.log.partitions() - 1)))
    }
}

/// Asks the log about each of these, some at the same time: on a cluster each answer takes its way there and back.
pub fn at_once<T: Sync, R: Send>(items: &[T], ask: impl Fn(&T) -> Result<R, Failure> + Sync) -> Result<Vec<R>, Failure> {
    let ask = &ask;
    std::thread::scope(|scope| {
        let parts = items.chunks(items.len().div_ceil(ASKED_AT_ONCE).max(1));
        let parts: Vec<_> = parts.map(|part| scope.spawn(move || part.iter().map(ask).collect::<Result<Vec<R>, Failure>>())).collect();
        let ended = |part: std::thread::ScopedJoinHandle<'_, _>| part.join().unwrap_or_else(|_| Err(Failure::internal("asking the log panicked")));
        parts.into_iter().map(ended).collect::<Result<Vec<Vec<R>>, Failure>>().map(|parts| parts.into_iter().flatten().collect())
    })
}
