//! What records look like outside: headers, topic names, and the tools for wire shapes that are frozen per version.
//! Nothing here decides anything, and no released shape is ever edited.
//!
//! ```
//! use daybook_schemas::envelope::Kind;
//! use daybook_schemas::{Envelope, partition_of};
//!
//! let envelope = Envelope::new("command-1", "/my/shop", Kind::of("product", "register", 1), "42-1");
//! assert_eq!(envelope.headers().text("ce_type"), Some("dev.daybook.product.register.v1"));
//! assert_eq!(Envelope::read(&envelope.headers()), Ok(envelope));
//! // Murmur2 of the routing key, as Java clients have it.
//! assert!(partition_of(b"42", 8).0 < 8);
//! ```
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `topic`, `trace`, `envelope`, `wire`, `codec`, `golden`.

pub mod codec;
pub mod envelope;
pub mod golden;
pub mod topic;
pub mod trace;
pub mod wire;

pub use codec::{Codec, Readable};
pub use envelope::{Envelope, Headers};
pub use kernel;
pub use serde;
pub use topic::{Partition, Stream, Topic, anchor_key, commands_of, partition_of, topic};
pub use trace::TraceContext;

/// The crates that made shapes are derived with, under names of ours: whoever calls the macros need not have them.
#[doc(hidden)]
pub mod alias {
    pub use {schemars as daybook_schemars, serde as daybook_serde};
}

/// The derives of made shapes.
#[doc(hidden)]
pub mod derives {
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
}
