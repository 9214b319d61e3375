//! The service: what it owns and follows, what readers see, where it lives.

use daybook::web::{Access, OPERATORS};
use daybook::{Capability, Service};
use daybook_cqrs_es::{Hosting, OnLog};
use daybook_postgres::{PostgresStore, Settings, TableView};

use shapes::Marketplace;

use crate::policies::RecordPurchase;
use crate::review::Review;
use crate::routes::{self, EXAMPLE, REVIEWS};
use crate::rows;
use crate::views::{ReviewView, TABLE};

/// Its name.
pub const SERVICE: &str = REVIEWS;

/// Where its history is read, and an older one is brought in.
const HISTORY: Hosting = Hosting {
    service: SERVICE,
    access: Access::Owners(&["customer"]),
    commits: Some(OPERATORS),
    states: None,
    events: ("review-events", "/reviews/{id}/events"),
    example: EXAMPLE,
};

/// The service. It runs where its [`store`] is known.
pub fn capability() -> Capability {
    let service = Service::new(SERVICE).owns::<OnLog<Review>, _>().follows::<RecordPurchase, Marketplace>("ordering");
    HISTORY.of::<Review>(Capability::of(service).view(REVIEWS, 1, rows::fold).routes(routes::routes()))
}

/// What makes the tables of its views.
pub fn migrations() -> sqlx::migrate::Migrator {
    sqlx::migrate!()
}

/// Where it lives: a schema of its own there.
pub fn store(settings: Settings) -> PostgresStore {
    PostgresStore::new(settings).migrated(migrations()).holds::<Review>(vec![Box::new(TableView::<ReviewView, Review>::new(TABLE))])
}
