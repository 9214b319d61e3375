//! Who acts, as a command's envelope says it: an account with what it may do, or a name that somebody gave itself. Believed where
//! whoever wrote the command vouches for it (see [`inside`](crate::inside)), and nowhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What the text of an account begins with.
const ACCOUNT: &str = "account/";
/// The owner of an account's own things, where a role stands.
pub const SELF: &str = "account";
/// The role that may do everything.
pub const OPERATOR: &str = "operator";
/// The role that may read everything.
pub const AUDITOR: &str = "auditor";

/// An account that acts: `account/<id> customer=17 operator`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// its id
    pub account: String,
    /// its roles, and for each the id that its own things begin with
    pub roles: BTreeMap<String, Option<String>>,
}

impl Actor {
    /// Whether it has this role.
    pub fn is(&self, role: &str) -> bool {
        self.roles.contains_key(role)
    }

    /// Whether what is routed by `key` is its own in this role.
    pub fn owns(&self, role: &str, key: &str) -> bool {
        if role == SELF { self.account == key } else { self.roles.get(role).is_some_and(|owns| owns.as_deref() == Some(key)) }
    }

    /// Whether a text would be read as an account: no name that somebody gives itself may.
    pub fn is_one(text: &str) -> bool {
        text.starts_with(ACCOUNT)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{ACCOUNT}{}", self.account)?;
        self.roles.iter().try_for_each(|(role, owns)| match owns {
            Some(owns) => write!(out, " {role}={owns}"),
            None => write!(out, " {role}"),
        })
    }
}

/// Reads an account; anything else is a name.
impl FromStr for Actor {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.strip_prefix(ACCOUNT).ok_or(())?.split(' ');
        let account = words.next().unwrap_or_default().to_owned();
        let role = |word: &str| word.split_once('=').map_or((word.to_owned(), None), |(role, owns)| (role.to_owned(), Some(owns.to_owned())));
        Ok(Self { account, roles: words.map(role).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_it_is_read() {
        let roles = [("customer", Some("17")), ("operator", None)].map(|(role, owns)| (role.to_owned(), owns.map(str::to_owned)));
        let actor = Actor { account: "5f3a".to_owned(), roles: roles.into_iter().collect() };
        assert_eq!(actor.to_string(), "account/5f3a customer=17 operator");
        assert_eq!(actor.to_string().parse(), Ok(actor.clone()));
        assert!(actor.owns("customer", "17") && actor.owns(SELF, "5f3a") && actor.is(OPERATOR));
        assert!(!actor.owns("customer", "18") && !actor.owns("seller", "17") && !actor.owns("operator", "") && !actor.owns(SELF, "17"));
        assert!("anna".parse::<Actor>().is_err());
    }
}
