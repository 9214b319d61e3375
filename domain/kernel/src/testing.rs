//! Given these events, when this command comes, then that happens: tests of aggregates, without a log.

use crate::{Aggregate, Context, NoHeads, Origin, Timestamp};

/// An aggregate that something has happened to.
pub struct Given<A> {
    subject: &'static str,
    now: Timestamp,
    state: A,
}

/// What came of a command.
pub struct Then<A: Aggregate> {
    state: A,
    came: Result<Vec<A::Event>, A::Refusal>,
}

/// The aggregate `subject`, after these events.
pub fn given<A: Aggregate>(subject: &'static str, events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    events.into_iter().for_each(|event| evolve(&mut state, &event));
    Given { subject, now: Timestamp(0), state }
}

/// What the aggregate declares holds after each event, here as everywhere.
fn evolve<A: Aggregate>(state: &mut A, event: &A::Event) {
    state.evolve(event);
    state.invariant().unwrap_or_else(|why| panic!("after {event:?} its invariant does not hold: {why}"));
}

impl<A: Aggregate> Given<A> {
    /// At this log time.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// A command comes.
    pub fn when(self, command: A::Command) -> Then<A> {
        let origin = Origin { command_id: "test".to_owned(), reply_to: None };
        let came = self.state.decide(command, &Context::new(self.subject, self.now, self.now, &origin, &NoHeads));
        let mut state = self.state;
        came.iter().flatten().for_each(|event| evolve(&mut state, event));
        Then { state, came }
    }

    /// The deadline comes, if there is one.
    ///
    /// # Panics
    /// If there is none.
    pub fn when_due(self) -> Then<A> {
        let (at, command) = self.state.deadline().unwrap_or_else(|| panic!("{} waits for no deadline", self.subject));
        self.at(at).when(command)
    }
}

impl<A: Aggregate> Then<A> {
    /// These events happen, and no others; the state after them.
    ///
    /// # Panics
    /// If others do, or it is refused.
    pub fn then(self, events: &[A::Event]) -> A {
        match &self.came {
            Ok(came) if came == events => self.state,
            Ok(came) => panic!("{came:?} happened, and not {events:?}"),
            Err(refusal) => panic!("it was refused: {refusal}"),
        }
    }

    /// What happens.
    ///
    /// # Panics
    /// If it is refused.
    pub fn events(self) -> Vec<A::Event> {
        self.came.unwrap_or_else(|refusal| panic!("it was refused: {refusal}"))
    }

    /// It is refused under this stable name.
    ///
    /// # Panics
    /// If it is not, or under another.
    pub fn refused(self, code: &str) {
        match &self.came {
            Err(refusal) => {
                let found = A::refusal_code(refusal);
                assert!(A::REFUSALS.contains(&found), "{found} is not one of {:?}", A::REFUSALS);
                assert!(found == code, "it was refused as {found}, and not as {code}");
            }
            Ok(came) => panic!("{came:?} happened, and it was not refused as {code}"),
        }
    }
}
