//! What the worker writes itself: markers for client commands that cause no event, and replies.

use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};

use super::shape::Shape;
use marker::{ACCEPTED, REFUSED, reply_kind};

/// Names of the worker's own kinds.
pub mod marker {
    use crate::envelope::Kind;

    /// A client's command that was already so.
    pub const ACCEPTED: &str = "command-accepted";
    /// A client's command that met a business no.
    pub const REFUSED: &str = "command-refused";

    /// The kind of a reply.
    pub fn reply_kind() -> Kind {
        Kind::of("daybook", "reply", 1)
    }
}

/// The body of `command-accepted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptedV1 {
    /// the aggregate's version, which the command did not change; 0 without any event
    pub version: u64,
}

/// The body of `command-refused`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedV1 {
    /// the refusal's stable name
    pub code: String,
    /// for people
    pub detail: String,
}

/// The body of a reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplyV1 {
    /// the id the caller gave its command
    pub command_id: String,
    /// `accepted`, `refused`, `later` (another aggregate's event will answer), `conflict` (the id was used for another command) or `failed` (a dead letter)
    pub outcome: String,
    /// why not, as a stable name
    pub code: Option<String>,
    /// why not, for people
    pub detail: Option<String>,
    /// the answering aggregate's type
    pub aggregate: String,
    /// its id
    pub subject: String,
    /// its version after the command
    pub version: Option<u64>,
    /// the event that ended the process the command began
    pub ended: Option<String>,
    /// the id under which the command was decided, if its client gave it another then
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_as: Option<String>,
}

/// The shapes of markers and replies. Markers carry the name of the aggregate that was asked; here `daybook` stands for any.
pub fn shapes() -> Vec<Shape> {
    use crate::envelope::Kind;
    let shape = |kind, schema| Shape { kind, group: "platform", schema, beside: true };
    vec![
        shape(Kind::of("daybook", ACCEPTED, 1), schema_for!(AcceptedV1)),
        shape(Kind::of("daybook", REFUSED, 1), schema_for!(RefusedV1)),
        shape(reply_kind(), schema_for!(ReplyV1)),
    ]
}
