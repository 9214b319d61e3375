//! The marketplace's own settings: the key of card tokens, and where reviews live.

use std::sync::Arc;
use std::time::Duration;

use daybook::config::{AppSettings, KeySetting, Secret, StoreSetting, Table};
use daybook::eventstore::service::Store;
use daybook::misuse::misused;
use daybook_postgres::Settings;

use crate::card::CardSettings;

/// What names PostgreSQL in the settings file; on the command line with `--` before it.
const POSTGRES: &str = "postgres";

/// What `up`, `serve` and others can be told besides the platform's own.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct MarketplaceSettings {
    #[command(flatten)]
    card: CardSettings,
    /// PostgreSQL, in which reviews live: postgres://user:password@host:port/database, for TLS with
    /// ?sslmode=verify-full&sslrootcert=FILE; a password may stand in PGPASSWORD or ~/.pgpass instead. Without it there are no reviews
    #[arg(long, env = "DAYBOOK_POSTGRES", value_name = "URL", hide_env_values = true)]
    postgres: Option<Secret>,
    /// Seconds that a statement may take there [default: 30]
    #[arg(long, env = "DAYBOOK_POSTGRES_TIMEOUT", value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    postgres_timeout: Option<u64>,
}

impl AppSettings for MarketplaceSettings {
    fn keys(&self, file: &mut Table) -> anyhow::Result<Vec<KeySetting>> {
        self.card.keys(file)
    }

    fn stores(&self, file: &mut Table) -> anyhow::Result<Vec<StoreSetting>> {
        const SECONDS: std::ops::RangeInclusive<i64> = 1..=3_600;
        let timeout = match file.remove("postgres_timeout").map(|given| given.as_integer().filter(|seconds| SECONDS.contains(seconds))) {
            Some(None) => misused!("postgres_timeout in the settings file must be a number of seconds, 1 to 3600"),
            given => self.postgres_timeout.or(given.flatten().and_then(|seconds| u64::try_from(seconds).ok())),
        };
        let address = StoreSetting::address(POSTGRES, self.postgres.clone(), file)?;
        let store = match address.map(|address| Settings::new(address.reveal(), reviews::SERVICE)) {
            None => None,
            Some(Err(why)) => misused!("{POSTGRES}: {why}"),
            Some(Ok(mut settings)) => {
                if let Some(seconds) = timeout {
                    settings = settings.statements(Duration::from_secs(seconds));
                }
                Some(Arc::new(reviews::store(settings)) as Arc<dyn Store>)
            }
        };
        Ok(vec![StoreSetting { service: reviews::SERVICE, name: POSTGRES, store }])
    }
}
