//! Groups: who reads what together, and from where. Names only; who owns what is the log's to say.

use std::collections::BTreeMap;

use schemas::Topic;

/// From where a group reads an input in which it has no position yet. Settled, and committed at once, when the group first
/// sees the partition: whatever comes after that is read, also by another member and after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// from the first record that is kept
    #[default]
    First,
    /// from the next record on
    Next,
}

/// A topic that a group reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// which
    pub topic: Topic,
    /// from where
    pub begin: Begin,
}

impl From<Topic> for Input {
    /// All of it.
    fn from(topic: Topic) -> Self {
        Self { topic, begin: Begin::First }
    }
}

/// Who reads what together. Its members share the partitions: whoever owns partition p of the command topic owns p of the
/// group, and reads partition p of its own inputs. Members of different versions may have different inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// the group's name, unique on the log
    pub name: String,
    /// The topic whose partitions the members share, and all that they are subscribed to. Read only if it is among the inputs.
    pub commands: Topic,
    /// what this member reads, all with the log's partition count
    pub inputs: Vec<Input>,
    /// this member's name, unique in the group
    pub member: String,
}

/// How far each topic is behind, of how far its partitions are.
pub(crate) fn summed(behind: impl Iterator<Item = (Topic, u64)>) -> Vec<(Topic, u64)> {
    let mut all = BTreeMap::<Topic, u64>::new();
    behind.for_each(|(topic, offsets)| *all.entry(topic).or_default() += offsets);
    all.into_iter().collect()
}
