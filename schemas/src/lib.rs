//! What it looks like outside: wire shapes frozen per version, headers, topic names.
//! Nothing here decides anything, and no released shape is ever edited.
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `topic`, `envelope`, `codec`, `wire`, `golden`.

pub mod codec;
pub mod envelope;
pub mod golden;
pub mod topic;
pub mod wire;

pub use codec::Codec;
pub use envelope::{Envelope, Headers};
pub use topic::{Partition, Stream, Topic, anchor_key, commands_of, partition_of, topic};
