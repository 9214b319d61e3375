//! `handle` as a decision: polled once, run twice, its events and nothing else taken from it.

use std::pin::pin;
use std::task::{self, Poll, Waker};

use cqrs_es::event_sink::EventSink;
use daybook::Context;
use serde::Deserialize;
use serde_json::Value;

use crate::hosted::Hosted;

/// What comes of a command: events, or a refusal's stable name and its words.
type Came<A> = Result<Vec<<A as cqrs_es::Aggregate>::Event>, (&'static str, String)>;

/// Decides.
///
/// # Panics
/// If the aggregate breaks one of the rules of a decision; the platform makes a dead letter of the command.
pub fn decide<A: Hosted>(state: &A, command: &Value, context: &Context<'_>) -> Came<A> {
    let came = run(state, command, context);
    if A::RUN_TWICE {
        let again = run(state, command, context);
        assert!(came == again, "{} is not deterministic: it decided {came:?} and, for the same command in the same state, {again:?}", A::TYPE);
    }
    came
}

fn run<A: Hosted>(state: &A, command: &Value, context: &Context<'_>) -> Came<A> {
    let command = A::Command::deserialize(command).unwrap_or_else(|why| panic!("a command that was readable is so no longer: {why}"));
    let (mut state, services, sink) = (state.copy(), A::services(context), EventSink::default());
    at_once::<A, _>(state.handle(command, &services, &sink)).map_err(|error| (A::refusal_code(&error), error.to_string()))?;
    Ok(at_once::<A, _>(sink.collect()))
}

/// What a future gives without waiting for anything.
fn at_once<A: Hosted, T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut task::Context::from_waker(Waker::noop())) {
        Poll::Ready(given) => given,
        Poll::Pending => panic!("{} waits for something while it decides: effects follow from events, by policies", A::TYPE),
    }
}
