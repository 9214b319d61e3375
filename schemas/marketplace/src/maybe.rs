//! A value that may not be there. In this crate, since only here `Option` may be made of it: of a shape that is ours.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A value that may not be there and has a shape of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Maybe<T>(pub Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Maybe<T> {
    /// Whether it is not there: then it is not written.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl<D, W: From<D>> From<Option<D>> for Maybe<W> {
    fn from(domain: Option<D>) -> Self {
        Self(domain.map(W::from))
    }
}
