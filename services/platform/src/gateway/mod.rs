//! The way of commands into the log, and of their answers out of it. Knows no HTTP.

use std::collections::BTreeMap;

use replies::Replies;
use sender::Sender;

pub mod outcomes;
pub mod replies;
pub mod sender;

/// Writes commands, hears their answers, and knows who gives them.
pub struct CommandGateway {
    /// writes commands
    pub sender: Sender,
    /// hears answers
    pub replies: Replies,
    /// (service, event) -> the service that answers the command behind that event
    pub answered_by: BTreeMap<(&'static str, &'static str), &'static str>,
    /// aggregate -> the service that owns it
    pub owners: BTreeMap<&'static str, &'static str>,
}

impl CommandGateway {
    /// The service that may answer a command to this one.
    pub fn answerer(&self, service: &'static str) -> &'static str {
        self.answered_by.iter().find(|((asked, _), _)| *asked == service).map_or(service, |(_, by)| *by)
    }

    /// The service that answers the command behind this event of a service, if it is another.
    pub fn answerer_of(&self, service: &'static str, event: &str) -> Option<&'static str> {
        self.answered_by.iter().find(|((asked, begins), _)| *asked == service && *begins == event).map(|(_, by)| *by)
    }

    /// Whether a process that begins with a command to this service ends in it.
    pub fn ends_where_it_begins(&self, service: &str) -> bool {
        self.answered_by.iter().any(|((asked, _), by)| *asked == service && *by == service)
    }

    /// The service that owns an aggregate type.
    pub fn owner(&self, aggregate: &str) -> Option<&'static str> {
        self.owners.get(aggregate).copied()
    }
}
