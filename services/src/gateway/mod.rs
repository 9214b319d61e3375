//! The way of commands into the log, and of their answers out of it. Knows no HTTP.

pub mod outcomes;
pub mod replies;
pub mod sender;
