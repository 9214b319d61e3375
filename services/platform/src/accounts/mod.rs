//! Accounts, sign-in and the audit trail as services: what they own and follow, their views and routes, like those of any
//! application. Every application has them.

use eventstore::actor::SELF;
use eventstore::service::Service;

use crate::capability::Capability;
use crate::http::route::Routes;
use crate::identity::account::Account;
use crate::identity::audit::SERVICE as AUDIT;
use crate::identity::credential::Credential;
use crate::identity::policies::{Claim, DropCredential, HearClaims, ReserveClaims};
use crate::identity::session::Session;
use crate::identity::trail::Trail;
use crate::identity::views::{ACCOUNTS, CREDENTIALS, fold_accounts, fold_credentials};
use crate::reservation::Reservation;

mod administration;
mod answers;
pub mod mailer;
mod passwords;
mod sessions;
mod settled;
mod sign_up;
mod trail;

/// The service of accounts and sessions, whose events all may read.
pub const IDENTITY: &str = "identity";
/// The service of credentials, whose events nobody else reads.
pub const SECRETS: &str = "credentials";

/// The services of accounts, credentials and the audit trail.
pub fn capabilities() -> Vec<Capability> {
    let identity = Service::new(IDENTITY)
        .owns::<Account, _>()
        .belongs_to(SELF)
        .owns::<Session, _>()
        .belongs_to(SELF)
        .owns::<Reservation<Claim>, _>()
        .follows_across::<ReserveClaims, _>(IDENTITY)
        .follows_across::<HearClaims, _>(IDENTITY);
    let secrets = Service::new(SECRETS).private().owns::<Credential, _>().belongs_to(SELF).follows::<DropCredential, _>(IDENTITY);
    let audit = Service::new(AUDIT).owns::<Trail, _>();
    let routes = [sign_up::routes(), sessions::routes(), administration::routes()].into_iter().fold(Routes::default(), Routes::merge);
    let identity = Capability::of(identity).everywhere(ACCOUNTS, 3, fold_accounts).routes(routes);
    let secrets = Capability::of(secrets).view(CREDENTIALS, 1, fold_credentials).routes(passwords::routes());
    vec![
        // A sign-up begins with a password, and a new password ends sessions.
        Capability { answered_by: &[("begun", IDENTITY)], asks: &[SECRETS], ..identity },
        Capability { asks: &[IDENTITY], ..secrets },
        Capability::of(audit).view("audit-trail", 1, trail::fold).routes(trail::routes()),
    ]
}
