//! NOTE to the schemas engineer: the worker is written against exactly these items (AcceptedV1.version, ReplyV1 fields, marker::*, and the DLT_* constants at the end of envelope.rs). Keep names and fields; give them docs, JsonSchema, golden files; move them where you like as long as `schemas::wire::{AcceptedV1, RefusedV1, ReplyV1, marker}` resolve.
use serde::{Serialize,Deserialize};
/// a
#[derive(Serialize,Deserialize)] pub struct AcceptedV1 { /// v
 pub version: u64 }
/// a
#[derive(Serialize,Deserialize)] pub struct RefusedV1 { /// v
 pub code: String, /// d
 pub detail: String }
/// a
#[derive(Serialize,Deserialize)] pub struct ReplyV1 { /// a
 pub command_id: String, /// a
 pub outcome: String, /// a
 pub code: Option<String>, /// a
 pub detail: Option<String>, /// a
 pub aggregate: String, /// a
 pub subject: String, /// a
 pub version: Option<u64>, /// a
 pub ended: Option<String> }
/// m
pub mod marker { /// a
 pub const ACCEPTED: &str = "command-accepted"; /// a
 pub const REFUSED: &str = "command-refused"; /// a
 pub fn reply_kind() -> crate::envelope::Kind { crate::envelope::Kind::of("daybook","reply",1) } }
