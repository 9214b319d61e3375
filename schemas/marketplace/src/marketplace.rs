//! Whose shapes these are.

/// Stands for all codecs of this crate, which are of another crate's aggregates: see [`schemas::Codec`].
pub struct Marketplace;
