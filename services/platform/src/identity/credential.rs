//! What an account proves itself with. Its topic is for this service alone: no other reads a password's hash.

use kernel::{Aggregate, Context, Timestamp};
use serde::{Deserialize, Serialize};

use crate::hex::Hex;

/// How long a reset of a password may take, in seconds of log time.
pub const RESET_SECONDS: i64 = 30 * 60;

/// An account's credential.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Credential {
    /// as Argon2 writes it, with its parameters; none before the first and after the account is gone
    hash: Option<String>,
    /// resets that were asked for, and until when the last of them is good
    reset: Option<(u64, Timestamp)>,
    resets: u64,
}

/// What can be asked of a credential.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// the first password
    Set {
        /// its hash
        hash: String,
    },
    /// the same password, hashed anew
    Rehash {
        /// its new hash
        hash: String,
        /// the one it replaces: a password that was changed meanwhile stays
        of: String,
    },
    /// another password, by somebody who knows the one of now
    Change {
        /// its hash
        hash: String,
        /// the hash it replaces
        of: String,
    },
    /// a reset is asked for
    BeginReset,
    /// another password, by somebody who was sent the token of this reset
    Reset {
        /// which
        number: u64,
        /// the password's hash
        hash: String,
    },
    /// the account never came to be
    Drop,
}

/// What can have happened to a credential.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// the first password is set
    PasswordSet {
        /// its hash
        hash: String,
    },
    /// the hash is another, the password the same
    PasswordRehashed {
        /// the new hash
        hash: String,
    },
    /// the password is another
    PasswordChanged {
        /// its hash
        hash: String,
    },
    /// whoever has the token of this reset may set another password
    ResetRequested {
        /// which
        number: u64,
        /// until when
        until: Timestamp,
    },
    /// there is no password
    Dropped,
}

/// Why a credential says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// See `password-exists`.
    #[error("this account has a password already")]
    Exists,
    /// See `password-changed`.
    #[error("the password has been changed meanwhile")]
    Changed,
    /// See `reset-over`.
    #[error("this token is used, replaced by a later one, or too old")]
    ResetOver,
    /// See `unknown-account`.
    #[error("there is no such account")]
    Unknown,
}

impl Aggregate for Credential {
    const NAME: &'static str = "user-credential";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &["password-exists", "password-changed", "reset-over", "unknown-account"];
    type Id = Hex;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        let (known, at) = (self.hash.is_some(), context.now);
        let is_of_now = |of: &String| self.hash.as_ref() == Some(of);
        Ok(match command {
            Command::Set { .. } if known => return Err(Refusal::Exists),
            Command::Set { hash } => vec![Event::PasswordSet { hash }],
            Command::Rehash { hash, of } if is_of_now(&of) => vec![Event::PasswordRehashed { hash }],
            Command::Rehash { .. } => vec![],
            Command::Change { hash, of } if is_of_now(&of) => vec![Event::PasswordChanged { hash }],
            Command::Change { .. } if known => return Err(Refusal::Changed),
            Command::BeginReset if known => vec![Event::ResetRequested { number: self.resets + 1, until: at.plus_seconds(RESET_SECONDS) }],
            Command::Reset { number, hash } if self.is_good(number, at) => vec![Event::PasswordChanged { hash }],
            Command::Reset { .. } => return Err(Refusal::ResetOver),
            Command::Change { .. } | Command::BeginReset => return Err(Refusal::Unknown),
            Command::Drop if known => vec![Event::Dropped],
            Command::Drop => vec![],
        })
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::PasswordSet { hash } | Event::PasswordChanged { hash } => (self.hash, self.reset) = (Some(hash.clone()), None),
            Event::PasswordRehashed { hash } => self.hash = Some(hash.clone()),
            Event::ResetRequested { number, until } => (self.resets, self.reset) = (*number, Some((*number, *until))),
            Event::Dropped => (self.hash, self.reset) = (None, None),
        }
    }

    fn refusal_code(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Exists => "password-exists",
            Refusal::Changed => "password-changed",
            Refusal::ResetOver => "reset-over",
            Refusal::Unknown => "unknown-account",
        }
    }
}

impl Credential {
    fn is_good(&self, number: u64, now: Timestamp) -> bool {
        self.reset.is_some_and(|(last, until)| last == number && now <= until)
    }
}

#[cfg(test)]
mod tests {
    use kernel::testing::given;

    use super::*;

    fn credential(events: &[Event]) -> kernel::testing::Given<Credential> {
        given::<Credential>("5f3a0c1d2e4b69788796a5b4c3d2e1f0", events.to_vec())
    }
    fn hash(text: &str) -> String {
        text.to_owned()
    }
    fn set() -> Event {
        Event::PasswordSet { hash: hash("one") }
    }
    fn changed(to: &str) -> Event {
        Event::PasswordChanged { hash: hash(to) }
    }

    #[test]
    fn a_password_is_set_once_and_changed_by_who_knows_it() {
        credential(&[]).when(Command::Set { hash: hash("one") }).then(&[set()]);
        credential(&[set()]).when(Command::Set { hash: hash("two") }).refused("password-exists");
        credential(&[set()]).when(Command::Change { hash: hash("two"), of: hash("one") }).then(&[changed("two")]);
        credential(&[set(), changed("two")]).when(Command::Change { hash: hash("three"), of: hash("one") }).refused("password-changed");
        credential(&[]).when(Command::Change { hash: hash("two"), of: hash("one") }).refused("unknown-account");
        credential(&[set(), changed("two")]).when(Command::Rehash { hash: hash("one again"), of: hash("one") }).then(&[]);
    }

    #[test]
    fn a_reset_is_good_once_and_for_a_while() {
        let until = Timestamp(0).plus_seconds(RESET_SECONDS);
        let requested = |number| Event::ResetRequested { number, until };
        let reset = |number| Command::Reset { number, hash: hash("two") };
        credential(&[set()]).when(Command::BeginReset).then(&[requested(1)]);
        credential(&[set(), requested(1)]).when(Command::BeginReset).then(&[requested(2)]);
        credential(&[set(), requested(1)]).when(reset(1)).then(&[changed("two")]);
        credential(&[set(), requested(1), requested(2)]).when(reset(1)).refused("reset-over");
        credential(&[set(), requested(1), changed("two")]).when(reset(1)).refused("reset-over");
        credential(&[set(), requested(1)]).at(until.plus_seconds(1)).when(reset(1)).refused("reset-over");
        credential(&[set()]).when(reset(0)).refused("reset-over");
        credential(&[]).when(Command::BeginReset).refused("unknown-account");
    }
}
