//! The review on the log: its events and refusals by name, and who may do what with it.

use std::sync::LazyLock;

use cqrs_es::persist::EventUpcaster;
use daybook::Context;
use daybook::eventstore::actor::{Actor, OPERATOR};
use daybook_cqrs_es::{CONFLICT, Hosted};
use domain::ReviewId;
use serde_json::Value;

use crate::review::{Review, ReviewError, Rights, upcasters};

static UPCASTERS: LazyLock<Vec<Box<dyn EventUpcaster>>> = LazyLock::new(upcasters);

/// Where a command stands whose purchase was made known.
pub(crate) const PURCHASE: &str = "RecordPurchase";

impl Hosted for Review {
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] =
        &["not-bought", "already-reviewed", "unknown-review", "review-withdrawn", "stars-out-of-range", "text-out-of-range", "forbidden", CONFLICT];
    const EVENTS: &'static [(&'static str, &'static [&'static str])] =
        &[("Bought", &["1.0"]), ("Written", &["1.0", "2.0"]), ("Edited", &["1.0"]), ("Withdrawn", &["1.0"]), ("Answered", &["1.0"])];
    type Id = ReviewId;

    fn services(context: &Context<'_>) -> Rights {
        // What is made inside has no actor, and a name that somebody gave itself is no account.
        let Some(actor) = context.actor.and_then(|actor| actor.parse::<Actor>().ok()).filter(|actor| !actor.is(OPERATOR)) else { return Rights::ALL };
        let id = context.subject.parse::<ReviewId>();
        let owns = |role: &str, key: fn(&ReviewId) -> u64| id.as_ref().is_ok_and(|id| actor.owns(role, &key(id).to_string()));
        Rights { writes: owns("customer", |id| id.customer.0), answers: owns("seller", |id| id.product.seller.0) }
    }

    fn refusal_code(error: &ReviewError) -> &'static str {
        match error {
            ReviewError::NotBought => "not-bought",
            ReviewError::Reviewed => "already-reviewed",
            ReviewError::Unknown => "unknown-review",
            ReviewError::Withdrawn => "review-withdrawn",
            ReviewError::Stars => "stars-out-of-range",
            ReviewError::Text => "text-out-of-range",
            ReviewError::NotYours(_) => "forbidden",
        }
    }

    fn made_inside(command: &Value) -> bool {
        command.get(PURCHASE).is_some()
    }

    fn upcasters() -> &'static [Box<dyn EventUpcaster>] {
        &UPCASTERS
    }
}
