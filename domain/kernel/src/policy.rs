//! What one aggregate's events ask of another.

use crate::Aggregate;

/// Whose events are followed: an aggregate, or what a follower knows of one whose types it does not have.
pub trait Source: 'static {
    /// The aggregate's name, as its records have it.
    const NAME: &'static str;
    /// What can have happened to it.
    type Event;
}

impl<A: Aggregate> Source for A {
    const NAME: &'static str = <A as Aggregate>::NAME;
    type Event = <A as Aggregate>::Event;
}

/// What one aggregate's events ask of another.
pub trait Policy: Send + Sync + 'static {
    /// Part of the ids of the commands it makes. Never changes.
    const NAME: &'static str;
    /// Whose events it reads.
    type Source: Source;
    /// Whom it commands.
    type Target: Aggregate;

    /// The commands that `event` of the aggregate `subject` causes, each with its target's id.
    /// Their ids are derived from the event, so a repeat makes the same commands.
    fn react(subject: &str, event: &<Self::Source as Source>::Event) -> Vec<(String, <Self::Target as Aggregate>::Command)>;
}
