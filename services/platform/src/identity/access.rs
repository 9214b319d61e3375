//! Who may call a route. Knows no request.

use eventstore::actor::{AUDITOR, Actor, OPERATOR};

/// Who may call a route. Operators may call all of them, auditors all that only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// whoever asks
    Anyone,
    /// every account
    SignedIn,
    /// accounts that have one of these roles, whosever things it is about; operators alone, if there are none
    Roles(&'static [&'static str]),
    /// Accounts that have one of these roles, about what is their own: ids that are routed by the id that the role owns. That
    /// an id is theirs is looked at where it stands in the path, where its rows are read, and where its command is written.
    Owners(&'static [&'static str]),
}

/// Operators alone.
pub const OPERATORS: Access = Access::Roles(&[]);

/// What an account is told that may not.
pub const NOT_YOURS: &str = "this account may not do this";

impl Access {
    /// Whether an account may at all; `reads` if the route only does that.
    pub fn allows(self, actor: &Actor, reads: bool) -> bool {
        let any = |roles: &[&str]| roles.iter().any(|role| *role == eventstore::actor::SELF || actor.is(role));
        everything(actor, reads)
            || match self {
                Self::Anyone | Self::SignedIn => true,
                Self::Roles(roles) | Self::Owners(roles) => any(roles),
            }
    }

    /// Whether an account that may at all may do so with what is routed by `key`; without one, with everything.
    pub fn owns(self, actor: &Actor, reads: bool, key: Option<&str>) -> bool {
        let Self::Owners(roles) = self else { return true };
        everything(actor, reads) || key.is_some_and(|key| roles.iter().any(|role| actor.owns(role, key)))
    }

    /// In words, for documents.
    pub fn words(self) -> String {
        let named = |roles: &[&str]| roles.iter().map(|role| format!("`{role}`")).collect::<Vec<_>>().join(", ");
        match self {
            Self::Anyone => "Anyone.".to_owned(),
            Self::SignedIn => "Whoever has signed in.".to_owned(),
            Self::Roles([]) => "`operator`; `auditor` if it only reads.".to_owned(),
            Self::Roles(roles) => format!("{}, `operator`; `auditor` if it only reads.", named(roles)),
            Self::Owners(roles) => format!("{}, about what is their own; `operator`; `auditor` if it only reads.", named(roles)),
        }
    }
}

fn everything(actor: &Actor, reads: bool) -> bool {
    actor.is(OPERATOR) || (reads && actor.is(AUDITOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(roles: &[(&str, Option<&str>)]) -> Actor {
        Actor { account: "5f3a".into(), roles: roles.iter().map(|(role, owns)| ((*role).to_owned(), owns.map(str::to_owned))).collect() }
    }

    #[test]
    fn roles_and_what_they_own_decide() {
        const OWN: Access = Access::Owners(&["customer", "seller"]);
        const SELF: Access = Access::Owners(&["account"]);
        let (anna, rose) = (actor(&[("customer", Some("17"))]), actor(&[("seller", Some("17"))]));
        let (operator, auditor, nobody) = (actor(&[("operator", None)]), actor(&[("auditor", None)]), actor(&[]));
        for (access, who, reads, key, may) in [
            (OWN, &anna, false, Some("17"), true),
            (OWN, &rose, false, Some("17"), true),
            (OWN, &anna, true, Some("18"), false),
            (OWN, &anna, true, None, false),
            (OWN, &operator, false, None, true),
            (OWN, &auditor, true, None, true),
            (OWN, &auditor, false, Some("17"), false),
            (OWN, &nobody, true, Some("17"), false),
            (SELF, &nobody, false, Some("5f3a"), true),
            (SELF, &anna, false, Some("17"), false),
            (OPERATORS, &anna, true, None, false),
            (OPERATORS, &auditor, true, None, true),
            (OPERATORS, &auditor, false, None, false),
            (Access::Roles(&["seller"]), &rose, false, None, true),
            (Access::Roles(&["seller"]), &anna, true, None, false),
            (Access::SignedIn, &nobody, false, None, true),
        ] {
            assert_eq!(access.allows(who, reads) && access.owns(who, reads, key), may, "{access:?} {who} {reads} {key:?}");
        }
    }
}
