//! Lets a request in if its caller may ask it. What a route declares decides, what the caller shows is believed as far as tokens,
//! accounts and sessions say, and what is refused or done as an operator is written down. Decides nothing about a business.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::RequestExt;
use axum::extract::{ConnectInfo, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use eventstore::actor::{Actor, OPERATOR};
use kernel::Timestamp;
use tokio::time::Instant;

use super::app::App;
use super::elsewhere::FORWARDED;
use super::failure::Failure;
use super::scope::{Asked, Caller};
use crate::identity::access::{Access, NOT_YOURS, OPERATORS};
use crate::identity::account::Status;
use crate::identity::audit;
use crate::identity::session;
use crate::identity::token::Claims;
use crate::identity::tokens::MACHINE;
use crate::identity::trail::Entry;
use crate::identity::views::{ACCOUNTS, AccountRow, SessionRow, account_key, session_key};
use crate::tls::PeerName;

/// How long a token may be ahead of what this instance knows of its session.
const UNFOLDED_WAIT: Duration = Duration::from_secs(2);

/// A route that is guarded.
pub struct Guarded {
    /// what everything is known by
    pub app: App,
    /// as `/accounts/{id}`
    pub path: &'static str,
    /// who may
    pub access: Access,
    /// its bodies hold secrets
    pub secret: bool,
    /// What an operator asks is an act, and written down. Commands of a business are in its own events, with who gave them.
    pub audited: bool,
    /// it is served by another listener: here to other instances alone
    pub hidden: bool,
}

/// Why somebody is not let in.
enum Denial {
    /// who it is was not shown, or not so that it is believed
    Unknown(String),
    /// the account may not
    Forbidden,
    /// so many seconds must pass
    TooOften(u64),
    /// nobody can tell now
    Unavailable(&'static str),
}

/// Seconds since 1970, by the machine's clock.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Lets a request in, or says why not.
pub async fn enter(State(guarded): State<Arc<Guarded>>, mut request: Request, next: Next) -> Response {
    let (app, access) = (&guarded.app, guarded.access);
    let passed_on = request.headers().contains_key(FORWARDED);
    // Where instances show certificates, whoever shows none is no instance.
    if passed_on && app.identity.tls.as_ref().is_some_and(|tls| tls.asks_for_certificates()) && request.extensions().get::<PeerName>().is_none() {
        return Failure::denied("a request that is passed on comes from an instance, which shows its certificate").into_response();
    }
    if guarded.hidden && !passed_on {
        return Failure::not_found("operators' routes are served by another listener").into_response();
    }
    let (reads, act) = (matches!(*request.method(), Method::GET | Method::HEAD), format!("{} {}", request.method(), request.uri().path()));
    let address = address(&request, app.identity.behind_proxy);
    let first = first_part(&mut request, guarded.path).await;
    let caller = match may(&guarded, request.headers(), &address, reads, first.as_deref()).await {
        Ok(caller) => caller,
        Err((denial, actor)) => return denied(app, &denial, actor.unwrap_or_else(|| format!("address {address}")), act),
    };
    let begun = || Entry { kind: "act".into(), actor: named(&caller, request.headers()), act: act.clone(), outcome: "begun".into(), times: 1 };
    // Of what everyone may do, like opening an account, an operator's way of doing it is an act too.
    let acts = access == OPERATORS || matches!(&caller, Caller::Account(actor) if actor.is(OPERATOR));
    let entry = (guarded.audited && acts && app.identity.required).then(begun);
    if let Err(failure) = recorded(app, entry.as_ref()).await {
        return failure.into_response();
    }
    let route = format!("{} {}", request.method(), guarded.path);
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let key = guarded.secret.then_some(app.identity.key);
    let (body, looked) = (RefCell::default(), Cell::new(first.is_some()));
    let who = named(&caller, request.headers());
    let asked = Asked { route, access, reads, caller, address, authorization, key, body, looked };
    let (response, looked) = asked.during(next.run(request)).await;
    if response.status() == StatusCode::FORBIDDEN {
        app.identity.denials.add(who, act.clone(), "forbidden"); // by what the request is about, or by its aggregate
    }
    if let Some(entry) = entry {
        let ended = Entry { outcome: response.status().as_u16().to_string(), ..entry };
        recorded(app, Some(&ended)).await.err().into_iter().for_each(|why| tracing::error!(?why, "how an operator's act ended is not in the audit trail"));
    }
    if response.status().is_success() && !looked {
        // A route that shows owners their own must ask whose it is: rather no answer than another's.
        return Failure::internal(format!("{} {} does not look at whose it is", guarded.path, access.words())).into_response();
    }
    response
}

/// The first part of the path that is a parameter: what the request is about.
async fn first_part(request: &mut Request, path: &str) -> Option<String> {
    if !path.contains('{') {
        return None;
    }
    let parts = request.extract_parts::<RawPathParams>().await.ok()?;
    parts.iter().next().map(|(_, value)| value.to_owned())
}

/// Who asks, if they may.
async fn may(guarded: &Guarded, headers: &HeaderMap, address: &str, reads: bool, about: Option<&str>) -> Result<Caller, (Denial, Option<String>)> {
    let Guarded { app, access, .. } = guarded;
    if !app.identity.required {
        return Ok(Caller::Open);
    }
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let token = match (given.next(), given.next()) {
        (None, _) => {
            app.identity.limits.address(address).map_err(|seconds| (Denial::TooOften(seconds), None))?;
            return if *access == Access::Anyone { Ok(Caller::Unknown) } else { Err((Denial::Unknown("no token".to_owned()), None)) };
        }
        (Some(value), None) => bearer(value).ok_or((Denial::Unknown("no bearer token".to_owned()), None))?,
        (Some(_), Some(_)) => return Err((Denial::Unknown("several tokens".to_owned()), None)),
    };
    let actor = believed(app, token).await.map_err(|denial| (denial, None))?;
    let denied = |denial| (denial, Some(actor.to_string()));
    if !actor.is(OPERATOR) {
        app.identity.limits.account(&actor.account).map_err(|seconds| denied(Denial::TooOften(seconds)))?;
    }
    let own = about.map(|part| (app.log.rules().routing_key)(part));
    if !access.allows(&actor, reads) || (own.is_some() && !access.owns(&actor, reads, own)) {
        return Err(denied(Denial::Forbidden));
    }
    Ok(Caller::Account(actor))
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// The account that a token is of, as it stands now.
async fn believed(app: &App, token: &str) -> Result<Arc<Actor>, Denial> {
    let claims = app.identity.tokens.verify(token, now()).map_err(|why| Denial::Unknown(format!("token: {why}")))?;
    if claims.sub == MACHINE {
        return Ok(Arc::new(Actor { account: MACHINE.to_owned(), roles: [(OPERATOR.to_owned(), None)].into() }));
    }
    if !app.identity.is_current() {
        return Err(Denial::Unavailable("what is known of accounts and sessions is too old to let anybody in: the log does not answer"));
    }
    let deadline = Instant::now() + UNFOLDED_WAIT;
    loop {
        let folded = app.views.folded(ACCOUNTS);
        match known(app, &claims)? {
            Some(actor) => return Ok(actor),
            // It may have been opened by another instance, a moment ago.
            None => {
                if app.in_time(deadline, folded).await.is_none() {
                    return Err(Denial::Unknown("token: of no session that is known here".to_owned()));
                }
            }
        }
    }
}

/// The account of a token, if it and the session are known and both go on.
fn known(app: &App, claims: &Claims) -> Result<Option<Arc<Actor>>, Denial> {
    let unreadable = |_| Denial::Unavailable("what is known of accounts and sessions cannot be read");
    let unknown = |why: &str| Err(Denial::Unknown(why.to_owned()));
    let accounts = app.views.get(ACCOUNTS).ok_or(Denial::Unavailable("accounts are not known here"))?;
    let folds = accounts.folds(); // before the rows: what is folded meanwhile makes them be read again
    if let Some(actor) = app.identity.actors.get(folds, &claims.sid).filter(|actor| actor.account == claims.sub) {
        return Ok(Some(actor));
    }
    let account = accounts.get::<AccountRow>(&account_key(&claims.sub)).map_err(unreadable)?;
    let session = accounts.get::<SessionRow>(&session_key(&claims.sid)).map_err(unreadable)?;
    let (Some(account), Some(session)) = (account, session) else { return Ok(None) };
    if account.status != Status::Active {
        return unknown("the account is shut");
    }
    if session.status != session::Status::Open || !claims.sid.starts_with(&claims.sub) {
        return unknown("the session is over");
    }
    let time = |text: &str| text.parse::<Timestamp>().ok();
    if account.renewed_at.as_deref().and_then(time).is_some_and(|renewed| time(&session.opened_at).is_none_or(|opened| opened <= renewed)) {
        return unknown("the account's sessions were ended after this one was opened: another password, or it was shut");
    }
    let actor = Arc::new(Actor { account: account.id, roles: account.roles });
    app.identity.actors.put(folds, &claims.sid, &actor);
    Ok(Some(actor))
}

fn denied(app: &App, denial: &Denial, actor: String, act: String) -> Response {
    let deny = |why: &str| app.identity.denials.add(actor.clone(), act.clone(), why);
    match denial {
        Denial::Unknown(why) => {
            deny(why);
            let mut response = Failure::unauthenticated().into_response();
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        Denial::Forbidden => {
            deny("forbidden");
            Failure::denied(NOT_YOURS).into_response()
        }
        Denial::TooOften(seconds) => Failure::too_often("too many requests: wait", *seconds).into_response(),
        Denial::Unavailable(why) => Failure::unavailable(*why).into_response(),
    }
}

/// Writes an act down.
async fn recorded(app: &App, entry: Option<&Entry>) -> Result<(), Failure> {
    let Some(entry) = entry else { return Ok(()) };
    Ok(app.commands.sender.send(audit::message(app.log.as_ref(), entry)).await?)
}

fn named(caller: &Caller, headers: &HeaderMap) -> String {
    match caller {
        Caller::Account(actor) => actor.to_string(),
        Caller::Open | Caller::Unknown => headers.get("daybook-actor").and_then(|value| value.to_str().ok()).unwrap_or("(nobody said)").to_owned(),
    }
}

/// Where a request comes from; behind a proxy, as the proxy tells it, which adds the last of the addresses.
pub fn address(request: &Request, behind_proxy: bool) -> String {
    let told = request.headers().get_all("x-forwarded-for").iter().next_back().filter(|_| behind_proxy);
    let told = told.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse::<std::net::IpAddr>().ok());
    let peer = || request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    told.or_else(peer).map_or_else(|| "unknown".to_owned(), |address| address.to_string())
}
