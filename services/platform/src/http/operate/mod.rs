//! What operators ask of a running system: one aggregate, sagas that wait, topics and their records, and the two
//! things they may do: end a saga through a command of its own, and trim commands that are decided.

use super::route::{Example, Operation, Routes};
use crate::identity::access::OPERATORS;
use answers::{Extents, Gathered, Inspected, Records, Saga, Settled, StoppedAt, StoppedReader, Topics, Traced, Trimmed};
use serde_json::json;

pub mod answers;
pub(crate) mod disk;
mod inspect;
pub mod places;
mod records;
pub(crate) mod sagas;
mod stopped;
mod topics;
mod trace;
mod trim;

/// The routes.
pub fn routes(example: Example) -> Routes {
    let topic = |operation: Operation| operation.text_part("topic", "daybook.control", "^[a-z.-]+$").fails(&["unknown-name", "not-found"]);
    let record = |operation: Operation| topic(operation).part("partition", "0").part("offset", "0");
    let aggregate =
        |operation: Operation| operation.text_part("aggregate", example.aggregate, "^[a-z-]+$").part("id", example.id).fails(&["unknown-name", "not-found"]);
    let ended = Operation::commands("Ends a process by hand, as its own deadline would", &["not-endable", "unknown-name"]);
    Routes::of("operators", OPERATORS)
        .get(
            "/inspect/{aggregate}/{id}",
            inspect::show,
            aggregate(Operation::new("Shows an aggregate's state, history and owner").answers::<Inspected>(200, "The aggregate")),
        )
        .get("/sagas", sagas::list, Operation::new("Lists the processes that have not ended").answers::<Gathered<Saga>>(200, "Those that wait for the longest"))
        .post(
            "/sagas/{aggregate}/{id}/end",
            sagas::end,
            ended
                .about("Daybook-Actor must say who, and why.")
                .text_part("aggregate", example.aggregate, "^[a-z-]+$")
                .part("id", example.id)
                .example(json!({ "outcome": "refuse" })),
        )
        .get(
            "/partitions",
            stopped::list,
            Operation::new("Lists the readers that stand still at a record").answers::<Gathered<StoppedReader>>(200, "All of them"),
        )
        .get(
            "/partitions/{topic}/{partition}/{offset}",
            stopped::show,
            record(Operation::new("Shows a record and the readers that stand still at it").answers::<StoppedAt>(200, "The record")),
        )
        .post(
            "/partitions/{topic}/{partition}/{offset}/retry",
            stopped::retry,
            record(Operation::new("Lets readers try a record again").answers::<Settled>(200, "It is settled")).fails(&["not-stopped"]).example(json!({})),
        )
        .post(
            "/partitions/{topic}/{partition}/{offset}/skip",
            stopped::skip,
            record(Operation::new("Lets readers pass over a record, for ever").answers::<Settled>(200, "It is settled"))
                .fails(&["not-stopped", "not-skipped"])
                .example(json!({ "reason": "written by a script" })),
        )
        .get("/topics", topics::list, Operation::new("Lists every topic's length and its readers' lag").answers::<Topics>(200, "All topics"))
        .get(
            "/topics/{topic}",
            topics::extents,
            topic(Operation::new("Shows where a topic's partitions begin and end").answers::<Extents>(200, "Its partitions")),
        )
        .get(
            "/topics/{topic}/{partition}",
            records::page,
            topic(Operation::new("Shows records as they lie in the log").answers::<Records>(200, "A page")).part("partition", "0"),
        )
        .get(
            "/trace/{id}",
            trace::show,
            Operation::new("Shows what followed from a command, as the log has it")
                .text_part("id", example.command, "^.+$")
                .answers::<Traced>(200, "Its records, in the order they were written")
                .fails(&["not-found"]),
        )
        .post(
            "/trim",
            trim::trim,
            Operation::new("Deletes commands that are decided; events are never deleted")
                .answers::<Trimmed>(200, "What went, or would go")
                .example(json!({ "all": true, "dry_run": true })),
        )
}
