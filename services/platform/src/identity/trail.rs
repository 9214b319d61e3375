//! The audit trail: who did what as an operator, and who was refused. Each entry holds the hash of the one before it, so that
//! none can be changed, left out or put between without a trace.

use kernel::{Aggregate, Context, Number, Timestamp};
use serde::{Deserialize, Serialize};

/// Longest field of an entry; what is longer is cut.
pub const FIELD_BYTES_MAX: usize = 500;

/// The trail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trail {
    /// entries there are
    count: u64,
    /// the hash of the last
    last: String,
}

/// What is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `act` or `denial`
    pub kind: String,
    /// who: an account, this machine, or an address
    pub actor: String,
    /// method and path
    pub act: String,
    /// what came of it or why not, in a word
    pub outcome: String,
    /// how often, where several are written down together
    pub times: u64,
}

/// What can be asked of the trail.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// it is written down
    Record(Entry),
}

/// What can have happened to the trail.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// it is written down
    Recorded(Link),
}

/// An entry in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// its number, from 1
    pub number: u64,
    /// when, in log time
    pub at: Timestamp,
    /// itself
    pub entry: Entry,
    /// the hash of the one before it; nothing before the first
    pub previous: String,
    /// its own
    pub hash: String,
}

impl Link {
    /// The hash that it must have: BLAKE3 over all its fields, each with its length before it.
    pub fn due(&self) -> String {
        let Entry { kind, actor, act, outcome, times } = &self.entry;
        hash(&self.previous, self.number, &self.at.to_string(), [kind, actor, act, outcome], *times)
    }
}

/// The hash of an entry: of its kind, its actor, its act and its outcome, in its place.
pub fn hash(previous: &str, number: u64, at: &str, fields: [&str; 4], times: u64) -> String {
    let (number, times) = (number.to_string(), times.to_string());
    let mut hasher = blake3::Hasher::new();
    for part in [previous, &number, at].into_iter().chain(fields).chain([times.as_str()]) {
        hasher.update(&(part.len() as u64).to_be_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

impl Entry {
    /// With all its fields in their bounds, and nothing in them that a terminal obeys.
    #[must_use]
    pub fn bounded(self) -> Self {
        let cut = |text: String| {
            let mut bytes = 0;
            let shown = text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char });
            shown.take_while(|char| (bytes += char.len_utf8(), bytes <= FIELD_BYTES_MAX).1).collect()
        };
        Self { kind: cut(self.kind), actor: cut(self.actor), act: cut(self.act), outcome: cut(self.outcome), times: self.times }
    }
}

impl Aggregate for Trail {
    const NAME: &'static str = "audit-trail";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &[];
    type Id = Number;
    type Command = Command;
    type Event = Event;
    type Refusal = std::convert::Infallible;

    fn decide(&self, Command::Record(entry): Command, context: &Context<'_>) -> Result<Vec<Event>, Self::Refusal> {
        let entry = entry.bounded();
        let mut link = Link { number: self.count + 1, at: context.now, entry, previous: self.last.clone(), hash: String::new() };
        link.hash = link.due();
        Ok(vec![Event::Recorded(link)])
    }

    fn evolve(&mut self, Event::Recorded(link): &Event) {
        (self.count, self.last) = (link.number, link.hash.clone());
    }

    fn refusal_code(refusal: &Self::Refusal) -> &'static str {
        match *refusal {}
    }
}

#[cfg(test)]
mod tests {
    use kernel::testing::given;

    use super::*;

    fn entry(act: &str) -> Entry {
        Entry { kind: "act".into(), actor: "machine".into(), act: act.into(), outcome: "begun".into(), times: 1 }
    }
    fn after(links: &[Link], act: &str) -> Link {
        let trail = given::<Trail>("0", links.iter().cloned().map(Event::Recorded).collect::<Vec<_>>());
        let mut events = trail.when(Command::Record(entry(act))).events();
        let Event::Recorded(link) = events.remove(0);
        link
    }

    #[test]
    fn each_entry_holds_the_one_before_it() {
        let one = after(&[], "POST /verify");
        let two = after(std::slice::from_ref(&one), "POST /trim");
        assert_eq!((one.number, one.previous.as_str(), two.number), (1, "", 2));
        assert_eq!((two.previous.clone(), one.due(), two.due()), (one.hash.clone(), one.hash.clone(), two.hash.clone()));
        let changes: [fn(&mut Link); 5] =
            [|link| link.number += 1, |link| link.at.0 += 1, |link| link.entry.act.push('x'), |link| link.entry.times += 1, |link| link.previous.clear()];
        for change in changes {
            let mut changed = two.clone();
            change(&mut changed);
            assert_ne!(changed.due(), two.hash, "{changed:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_where_a_character_ends() {
        let long = after(&[], &"ü".repeat(400)).entry.act;
        assert_eq!((long.len(), long.chars().count()), (FIELD_BYTES_MAX, FIELD_BYTES_MAX / 2));
        assert_eq!(after(&[], "a\u{1b}[2J").entry.act, "a\u{fffd}[2J");
    }
}
