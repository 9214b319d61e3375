//! Keys of personal data, and what is sealed under them.

mod other;
mod sealing;
mod shared;
mod store;
