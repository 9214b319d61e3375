//! How PostgreSQL is reached.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

/// Longest that a statement may take there, and one that waits for a lock.
const STATEMENT: Duration = Duration::from_secs(30);
/// Longest that a connection may take to be made.
pub const CONNECT: Duration = Duration::from_secs(5);

/// What is wrong with settings.
#[derive(Debug)]
pub struct SettingsError(String);

impl std::fmt::Display for SettingsError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}

/// An address. What is wrong is said without it, since it may hold a password.
pub fn address(url: &str) -> Result<PgConnectOptions, SettingsError> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(SettingsError("PostgreSQL's address begins with postgres://".to_owned()));
    }
    PgConnectOptions::from_str(url).map_err(|why| SettingsError(format!("PostgreSQL's address cannot be read: {why}")))
}

/// Where a service's tables are.
#[derive(Clone)]
pub struct Settings {
    /// the server, the database, and who signs in
    pub(crate) connect: PgConnectOptions,
    /// the schema that the tables lie in
    pub(crate) schema: String,
    /// longest that a statement may take
    pub(crate) statement: Duration,
}

impl Settings {
    /// At this address: `postgres://user:password@host:port/database`, with `?sslmode=verify-full&sslrootcert=FILE` for TLS. A
    /// password that stands neither there nor in `PGPASSWORD` is looked up in `~/.pgpass`. Tables lie in a schema of their own.
    pub fn new(url: &str, schema: &str) -> Result<Self, SettingsError> {
        let is_name =
            |name: &str| name.starts_with(|sign: char| sign.is_ascii_lowercase()) && name.chars().all(|sign| matches!(sign, 'a'..='z' | '0'..='9' | '_'));
        if !is_name(schema) || schema.len() > 60 {
            return Err(SettingsError(format!("'{schema}' is no name for a schema: small letters, digits and _, at most 60")));
        }
        let connect = address(url)?;
        let connect = connect.application_name("daybook").options([("search_path", schema)]);
        Ok(Self { connect, schema: schema.to_owned(), statement: STATEMENT }.statements(STATEMENT))
    }

    /// A statement may take so long there, and a third of it wait for a lock. 30 seconds if it is not said.
    #[must_use]
    pub fn statements(mut self, longest: Duration) -> Self {
        let seconds = |time: Duration| format!("{}s", time.as_secs().max(1));
        let (all, lock) = (seconds(longest), seconds(longest / 3));
        self.statement = longest;
        self.connect = self.connect.options([("statement_timeout", &all), ("lock_timeout", &lock), ("idle_in_transaction_session_timeout", &all)]);
        self
    }

    /// Where it is, without who signs in.
    pub(crate) fn place(&self) -> String {
        let database = self.connect.get_database().unwrap_or("postgres");
        format!("{}:{}/{database}, schema {}", self.connect.get_host(), self.connect.get_port(), self.schema)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::Settings;

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let said = |url: &str, schema: &str| Settings::new(url, schema).map(|settings| settings.place()).map_err(|why| why.to_string());
        assert_eq!(said("postgres://anna:hush@db:5433/shop", "reviews").unwrap(), "db:5433/shop, schema reviews");
        for schema in ["", "Reviews", "1st", "a-b", "a;drop", "public.a"] {
            assert!(said("postgres://anna:hush@db/shop", schema).unwrap_err().contains("is no name for a schema"), "{schema}");
        }
        for url in ["", "db:5432", "mysql://anna:hush@db/shop", "postgres://anna:hush@db:port/shop", "postgres://anna:hush@db/shop?sslmode=perhaps"] {
            let why = said(url, "reviews").unwrap_err();
            assert!(why.starts_with("PostgreSQL's address") && !why.contains("hush"), "{url}: {why}");
        }
    }
}
