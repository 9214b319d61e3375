//! What was asked cannot be meant: a flag, a setting or a name that is wrong, whoever finds it. Its exit code is 2, as the
//! one of a flag that is not known; never for what failed although it was asked rightly.

/// Asked wrongly, and how it is asked rightly.
#[derive(Debug)]
pub struct Misuse(String);

impl Misuse {
    /// With what is wrong, and what would be right.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// Whether this is why something was not done.
    pub fn is_cause_of(why: &anyhow::Error) -> bool {
        why.chain().any(|cause| cause.is::<Self>())
    }
}

impl std::fmt::Display for Misuse {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// The error of what was asked wrongly, as `anyhow::bail!` makes others.
#[macro_export]
#[doc(hidden)]
macro_rules! misused {
    ($($said:tt)*) => { return Err(anyhow::Error::new($crate::misuse::Misuse::new(format!($($said)*)))) };
}
pub use misused;
