//! A session, `<account>-<session>`: from a sign-in until it is over. Its refresh tokens are numbered: the last one is good once,
//! and one that comes again has been stolen from somebody. Holds no token.

use kernel::{Aggregate, Context, Timestamp, routing_key};
use serde::{Deserialize, Serialize};

use super::account::Account;
use crate::hex::HexPair;

/// How long a session lasts that is not used, and how long any, in seconds of log time.
pub const IDLE_SECONDS: i64 = 30 * 24 * 60 * 60;
/// The latter.
pub const LIFE_SECONDS: i64 = 90 * 24 * 60 * 60;

/// Where a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// there is none
    #[default]
    New,
    /// it can be used
    Open,
    /// it is over
    Over,
}

/// A session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    status: Status,
    opened_at: Timestamp,
    until: Timestamp,
    /// the refresh token that is good
    number: u64,
}

/// What can be asked of a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// somebody has signed in
    Open,
    /// somebody has shown the refresh token of this number, and wants the next
    Refresh {
        /// its number
        number: u64,
    },
    /// it is over
    Revoke {
        /// why
        reason: String,
    },
    /// nobody has used it for too long
    Expire,
}

/// What can have happened to a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// it can be used
    Opened {
        /// since when
        at: Timestamp,
        /// until when, if nobody uses it
        until: Timestamp,
    },
    /// the refresh token of this number is good, and none before it
    Refreshed {
        /// its number
        number: u64,
        /// until when, if nobody uses it
        until: Timestamp,
    },
    /// it is over
    Revoked {
        /// why
        reason: String,
    },
    /// it is over
    Expired,
}

/// Why a session says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// See `session-over`.
    #[error("this session is over: sign in again")]
    Over,
    /// See `session-exists`.
    #[error("this session exists already")]
    Exists,
}

impl Aggregate for Session {
    const NAME: &'static str = "user-session";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &["session-over", "session-exists"];
    type Id = HexPair;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        let account = context.head::<Account>(routing_key(context.subject));
        let may = account.as_ref().is_some_and(|account| account.is_active());
        let revoked = |reason: &str| vec![Event::Revoked { reason: reason.to_owned() }];
        let (open, now) = (self.status == Status::Open, context.now);
        Ok(match command {
            Command::Open if self.status != Status::New => return Err(Refusal::Exists),
            Command::Open if !may => return Err(Refusal::Over),
            Command::Open => vec![Event::Opened { at: now, until: now.plus_seconds(IDLE_SECONDS) }],
            Command::Refresh { .. } if !open || now > self.until => return Err(Refusal::Over),
            Command::Refresh { .. } if !may => revoked("account-shut"),
            Command::Refresh { .. } if account.is_some_and(|account| account.renewed_at() >= self.opened_at) => revoked("sessions-ended"),
            // Two have had this token, and one of them had no right to it: nobody can tell which.
            Command::Refresh { number } if number < self.number => revoked("refresh-token-used-again"),
            Command::Refresh { number } if number > self.number => return Err(Refusal::Over),
            Command::Refresh { number } => {
                let until = now.plus_seconds(IDLE_SECONDS).min(self.opened_at.plus_seconds(LIFE_SECONDS));
                vec![Event::Refreshed { number: number + 1, until }]
            }
            Command::Revoke { reason } if open => vec![Event::Revoked { reason }],
            Command::Expire if open && now >= self.until => vec![Event::Expired],
            Command::Revoke { .. } | Command::Expire => vec![],
        })
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Opened { at, until } => *self = Self { status: Status::Open, opened_at: *at, until: *until, number: 0 },
            Event::Refreshed { number, until } => (self.number, self.until) = (*number, *until),
            Event::Revoked { .. } | Event::Expired => self.status = Status::Over,
        }
    }

    fn refusal_code(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Over => "session-over",
            Refusal::Exists => "session-exists",
        }
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        (self.status == Status::Open).then_some((self.until, Command::Expire))
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::rc::Rc;

    use kernel::{Heads, Origin};

    use super::super::account;
    use super::*;

    const ID: &str = "5f3a0c1d2e4b69788796a5b4c3d2e1f0-00112233445566778899aabbccddeeff";

    /// The session's account.
    struct Beside(Account);
    impl Heads for Beside {
        fn head(&self, aggregate: &'static str, id: &str) -> Option<Rc<dyn Any>> {
            (aggregate == Account::NAME && ID.starts_with(id)).then(|| Rc::new(self.0.clone()) as Rc<dyn Any>)
        }
    }

    fn decide(given: &[Event], account: &[account::Event], now: i64, command: Command) -> Result<Vec<Event>, Refusal> {
        let (mut session, mut beside) = (Session::default(), Account::default());
        given.iter().for_each(|event| session.evolve(event));
        account.iter().for_each(|event| beside.evolve(event));
        let (origin, now) = (Origin::default(), Timestamp(0).plus_seconds(now));
        session.decide(command, &Context::new(ID, now, now, &origin, &Beside(beside)))
    }
    fn set() -> account::Event {
        account::Event::Activated { origin: Origin::default() }
    }
    fn shut() -> account::Event {
        account::Event::Disabled { reason: "a test".into() }
    }
    fn at(seconds: i64) -> Timestamp {
        Timestamp(0).plus_seconds(seconds)
    }
    fn opened() -> Event {
        Event::Opened { at: at(10), until: at(10 + IDLE_SECONDS) }
    }
    fn refreshed(number: u64, now: i64) -> Event {
        Event::Refreshed { number, until: at(now + IDLE_SECONDS) }
    }
    fn revoked(reason: &str) -> Result<Vec<Event>, Refusal> {
        Ok(vec![Event::Revoked { reason: reason.into() }])
    }
    fn refresh(number: u64) -> Command {
        Command::Refresh { number }
    }

    #[test]
    fn it_opens_where_there_is_an_account() {
        assert_eq!(decide(&[], &[set()], 10, Command::Open), Ok(vec![opened()]));
        assert_eq!(decide(&[opened()], &[set()], 10, Command::Open), Err(Refusal::Exists));
        for without in [vec![], vec![set(), shut()]] {
            assert_eq!(decide(&[], &without, 10, Command::Open), Err(Refusal::Over), "{without:?}");
        }
    }

    #[test]
    fn a_refresh_token_is_good_once_and_reuse_ends_the_session() {
        assert_eq!(decide(&[opened()], &[set()], 20, refresh(0)), Ok(vec![refreshed(1, 20)]));
        let used = [opened(), refreshed(1, 20)];
        assert_eq!(decide(&used, &[set()], 30, refresh(1)), Ok(vec![refreshed(2, 30)]));
        assert_eq!(decide(&used, &[set()], 30, refresh(0)), revoked("refresh-token-used-again"));
        assert_eq!(decide(&used, &[set()], 30, refresh(2)), Err(Refusal::Over));
        let over = [opened(), refreshed(1, 20), Event::Revoked { reason: "signed-out".into() }];
        for number in 0..3 {
            assert_eq!(decide(&over, &[set()], 30, refresh(number)), Err(Refusal::Over));
        }
    }

    #[test]
    fn it_ends_with_its_password_its_account_and_its_time() {
        let changed = account::Event::PasswordRenewed { at: at(15) };
        assert_eq!(decide(&[opened()], &[set(), changed], 20, refresh(0)), revoked("sessions-ended"));
        assert_eq!(decide(&[opened()], &[set(), account::Event::SessionsEnded { at: at(15) }], 20, refresh(0)), revoked("sessions-ended"));
        assert_eq!(decide(&[opened()], &[set(), shut()], 20, refresh(0)), revoked("account-shut"));
        let idle = 10 + IDLE_SECONDS;
        assert_eq!(decide(&[opened()], &[set()], idle + 1, refresh(0)), Err(Refusal::Over));
        assert_eq!(decide(&[opened()], &[set()], idle, Command::Expire), Ok(vec![Event::Expired]));
        assert_eq!(decide(&[opened(), refreshed(1, 20)], &[set()], idle, Command::Expire), Ok(vec![]));
        // Its life has an end, however often it is used.
        let late = 10 + LIFE_SECONDS - 5;
        assert_eq!(
            decide(&[opened(), refreshed(1, late - 10)], &[set()], late, refresh(1)),
            Ok(vec![Event::Refreshed { number: 2, until: at(10 + LIFE_SECONDS) }])
        );
    }
}
