//! Samples of ratings.

use super::{Command, Event};

/// So many reviews have given so many stars.
pub fn rated(reviews: u64, stars: u64) -> Event {
    Event::Rated { reviews, stars }
}

/// One event of each kind.
pub fn events() -> Vec<Event> {
    vec![rated(2, 7)]
}

/// One command of each kind.
pub fn commands() -> Vec<Command> {
    vec![Command::Count { before: Some(3), after: Some(4) }]
}
