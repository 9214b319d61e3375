//! Who may do what, from outside: accounts, sessions, the guard, the audit trail, against the real binary.

mod attacks;
mod claims;
mod erasure;
mod guard;
mod passwords;
pub mod people;
mod secrets;
mod tls;
mod verbs;
