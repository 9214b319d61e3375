//! What talks to a running system over HTTP: the connection, and the operators' verbs. Knows no log and no rows.

pub mod connection;
pub mod operator;
