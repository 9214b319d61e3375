//! What talks to a running system over HTTP: the connection, jobs on it, the operators' verbs. Knows no log and no rows.

pub mod connection;
pub mod jobs;
pub mod operator;
pub mod signed_in;
