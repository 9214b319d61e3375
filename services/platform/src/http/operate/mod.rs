//! What operators ask of a running system: one aggregate, sagas that wait, topics and their records, and the two
//! things they may do: end a saga through a command of its own, and trim commands that are decided.

use super::route::{Example, Operation, Routes};
use crate::identity::access::OPERATORS;
use answers::{Diffed, Extents, Folded, Gathered, Inspected, Projections, Records, Saga, Settled, StoppedAt, StoppedReader, Topics, Traced, Trimmed};
use serde_json::json;

pub mod answers;
pub(crate) mod disk;
mod inspect;
pub mod places;
pub(super) mod projections;
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
    let projection = |title: &'static str| {
        let operation = Operation::new(title).text_part("projection", "audit-trail", "^[a-z-]+$"); // every application has it
        operation.answers::<Folded>(200, "How it stands").fails(&["unknown-name", "not-found"])
    };
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
        .get("/projections", projections::list, Operation::new("Lists the projections that are folded here").answers::<Projections>(200, "All of them"))
        .get("/projections/{projection}", projections::describe, projection("Shows a projection, and what is folded beside it"))
        .post(
            "/projections/{projection}/pause",
            projections::pause,
            projection("Folds nothing into a projection until it is resumed").fails(&["not-possible"]).example(json!({})),
        )
        .post("/projections/{projection}/resume", projections::resume, projection("Folds on").fails(&["not-possible"]).example(json!({})))
        .post(
            "/projections/{projection}/rebuild",
            projections::rebuild,
            projection("Folds a projection anew beside what is served, compares, and swaps it in").fails(&["not-possible"]).example(json!({ "rate": 10000 })),
        )
        .post("/projections/{projection}/swap", projections::swap, projection("Serves what is folded beside").fails(&["not-possible"]).example(json!({})))
        .post(
            "/projections/{projection}/rollback",
            projections::rollback,
            projection("Gives up what is folded beside, or serves again what was served before").fails(&["not-possible"]),
        )
        .post(
            "/projections/{projection}/diff",
            projections::diff,
            Operation::new("Holds what is served against a fold from zero, up to now or a time before")
                .text_part("projection", "audit-trail", "^[a-z-]+$")
                .answers::<Diffed>(200, "What differs")
                .fails(&["unknown-name", "not-found", "proof-running"])
                .example(json!({})),
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
