//! Answers that lie with other instances, and the way there.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::Partition;

use super::limits::WAIT_MAX;

/// Marks a request that was passed on: it is not passed on again.
pub const FORWARDED: &str = "daybook-forwarded";
/// What a query that is passed on may take beyond the time its caller gives it.
pub const MARGIN: Duration = Duration::from_secs(2);

/// Which views are folded elsewhere, and the way there.
pub struct Forward {
    pub(super) views: BTreeMap<String, &'static str>,
    pub(super) client: reqwest::Client,
}

/// A query's answer lies with an instance of this service, perhaps under another path.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    pub(super) service: &'static str,
    pub(super) path: Option<String>,
    /// whose owner alone has the answer, if it is not any instance
    pub(super) partition: Option<Partition>,
}

impl Elsewhere {
    /// Of `service`.
    pub fn of(service: &'static str) -> Self {
        Self { service, path: None, partition: None }
    }

    /// Only the owner of this partition has it.
    #[must_use]
    pub fn owning(mut self, partition: Partition) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Under another path there.
    #[must_use]
    pub fn at(mut self, path: String) -> Self {
        self.path = Some(path);
        self
    }
}

impl Forward {
    /// For these views of other instances' services.
    pub fn new(views: BTreeMap<String, &'static str>, tls: rustls::ClientConfig) -> anyhow::Result<Self> {
        let builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(1)).timeout(WAIT_MAX + MARGIN);
        Ok(Self { views, client: builder.tls_backend_preconfigured(tls).build()? })
    }

    /// The service whose view this is, if it is run elsewhere.
    pub fn service_of(&self, view: &str) -> Option<&'static str> {
        self.views.get(view).copied()
    }
}
