//! The integration tests of `domain`, one binary: given events, when a command, then events or a refusal.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

extern crate marketplace_domain as domain;

mod bus;
mod carts;
mod money;
mod orders;
mod products;
mod properties;
mod refunds;
mod sales;
mod shipments;
mod stock;

use domain::{Aggregate, Context, NoHeads, Origin, Timestamp};

/// An aggregate after a history.
pub fn given<A: Aggregate>(events: &[A::Event]) -> A {
    let mut state = A::default();
    for event in events {
        state.evolve(event);
        assert_eq!(state.invariant(), Ok(()), "after {event:?}");
    }
    state
}

/// What a command causes, at a log time, for customer 17.
pub fn when<A: Aggregate>(state: &A, subject: &str, command: A::Command, now: Timestamp) -> Result<Vec<A::Event>, A::Refusal> {
    let origin = Origin { command_id: "c-1".into(), reply_to: Some("here@3".into()) };
    state.decide(command, &Context::new(subject, now, domain::order::sample::placed_at(), &origin, &NoHeads))
}

/// Given, when, then, for aggregates that look at nothing else.
#[track_caller]
pub fn check<A: Aggregate>(subject: &str, given_events: &[A::Event], command: A::Command, then: Result<Vec<A::Event>, A::Refusal>) {
    let mut state = given::<A>(given_events);
    let decided = when(&state, subject, command.clone(), Timestamp(0));
    assert_eq!(decided, then);
    // What was decided is decided once: the repeat of an accepted command decides nothing, or is refused.
    if let Ok(events) = decided {
        events.iter().for_each(|event| state.evolve(event));
        let again = when(&state, subject, command, Timestamp(0));
        assert!(again.as_ref().map_or(true, Vec::is_empty) || again == Ok(events), "a repeat decided {again:?}");
    }
}
