//! What it means to a reader: views folded from the log, followed, rebuilt and proven equal to a fold from zero.
//!
//! ```
//! use daybook_projections::{FoldError, FoldEvent, Overlay, Seen};
//!
//! /// Counts events of every kind: a fold sees one event at a time, and changes rows.
//! fn kinds(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
//!     rows.update::<u64>(&seen.envelope.kind.name, |count| *count += 1)?;
//!     Ok(())
//! }
//! let _view: FoldEvent = kinds;
//! ```
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `generations`, `digest`, `queue`, `verify`, `overlay`, `view`, `state`, `generation`, `beside`, `follow`, `reading`, `standing`, `rebuild`.

mod beside;
mod digest;
mod follow;
mod generation;
mod generations;
mod overlay;
mod queue;
mod reading;
mod rebuild;
mod standing;
mod state;
mod verify;
mod view;

pub use beside::Phase;
pub use digest::Digest;
pub use follow::{BULK, Projection, Watcher};
pub use generations::{Asked, Generations, Roles, Vector, Why};
pub use overlay::{Overlay, read};
pub use queue::Queue;
pub use reading::ReadError;
pub use rebuild::{Rebuild, RebuildError, Step};
pub use standing::{BesideStanding, Standing};
pub use state::{StateRow, states};
pub use verify::{Difference, Kept, Proof, Verdict};
pub use view::{FoldError, FoldEvent, Folding, Seen, View};
