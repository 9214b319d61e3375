//! What a request asks, for those who must know it again: which route it came by, a fingerprint of what was sent, and who sent
//! it. Known while a request is handled, and nowhere else.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use eventstore::actor::{Actor, OPERATOR};
use eventstore::fingerprint;

use super::failure::Failure;
use crate::identity::access::{Access, NOT_YOURS};

/// Who sent a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// nobody asks who
    Open,
    /// somebody who did not say
    Unknown,
    /// an account
    Account(Arc<Actor>),
}

/// A request on its way.
pub struct Asked {
    /// method and route, as `POST /accounts/{id}/deposits`
    pub route: String,
    /// who may ask
    pub access: Access,
    /// whether it only reads
    pub reads: bool,
    /// who asks
    pub caller: Caller,
    /// where the request comes from
    pub address: String,
    /// what shows who asks, as it came
    pub authorization: Option<String>,
    /// under which a fingerprint of its body is made, if that holds secrets: whoever has the log could try out what is short
    pub key: Option<[u8; 32]>,
    /// of the body; none of a request without one
    pub body: RefCell<Option<blake3::Hash>>,
    /// whether what it is about was looked at
    pub looked: Cell<bool>,
}

tokio::task_local! {
    static ASKED: Asked;
}

impl Asked {
    /// Lets what handles it know it. Says also whether an owner's own things were looked for, where that matters.
    pub async fn during<T>(self, handled: impl Future<Output = T>) -> (T, bool) {
        let matters =
            |asked: &Self| matches!((&asked.caller, asked.access), (Caller::Account(actor), Access::Owners(_)) if !asked.access.owns(actor, asked.reads, None));
        let looked = async {
            let done = handled.await;
            (done, ASKED.with(|asked| asked.looked.get() || !matters(asked)))
        };
        ASKED.scope(self, looked).await
    }
}

/// Who sent the request.
pub fn caller() -> Caller {
    ASKED.try_with(|asked| asked.caller.clone()).unwrap_or(Caller::Unknown)
}

/// The account that acts. On a route that is anyone's nobody does, but for operators: whoever asks there asks as everyone may.
pub fn actor() -> Option<Arc<Actor>> {
    let acts = |asked: &Asked| match &asked.caller {
        Caller::Account(actor) if asked.access != Access::Anyone || actor.is(OPERATOR) => Some(Arc::clone(actor)),
        _ => None,
    };
    ASKED.try_with(acts).ok().flatten()
}

/// Where the request comes from.
pub fn address() -> String {
    ASKED.try_with(|asked| asked.address.clone()).unwrap_or_default()
}

/// What showed who sent it, to be shown to another instance.
pub fn authorization() -> Option<String> {
    ASKED.try_with(|asked| asked.authorization.clone()).ok().flatten()
}

/// That what is routed by `key` is the caller's own, where the route asks for that; without a key, that everything is.
pub fn owned(key: Option<&str>) -> Result<(), Failure> {
    let may = |asked: &Asked| {
        asked.looked.set(true);
        match &asked.caller {
            Caller::Open | Caller::Unknown => true, // whom the route let in
            Caller::Account(actor) => asked.access.owns(actor, asked.reads, key),
        }
    };
    if ASKED.try_with(may).unwrap_or(true) { Ok(()) } else { Err(Failure::denied(NOT_YOURS)) }
}

/// That the caller is an operator, for what others may not say; nobody is asked who it is where there is no sign-in.
pub fn operators_only(pointer: &str) -> Result<(), Failure> {
    match caller() {
        Caller::Account(actor) if !actor.is(OPERATOR) => Err(Failure::denied(format!("{pointer} is for operators")).at(pointer)),
        Caller::Account(_) | Caller::Open => Ok(()),
        Caller::Unknown => Err(Failure::unauthenticated()),
    }
}

/// The body was read.
pub fn read(body: &[u8]) {
    let hash = |asked: &Asked| asked.key.map_or_else(|| blake3::hash(body), |key| blake3::keyed_hash(&key, body));
    let _elsewhere = ASKED.try_with(|asked| asked.body.replace(Some(hash(asked))));
}

/// Method and route.
pub fn route() -> String {
    ASKED.try_with(|asked| asked.route.clone()).unwrap_or_default()
}

/// A fingerprint of method, route, resource, precondition and body as they were sent: independent of any shape that they
/// are written in.
pub fn request(subject: &str, expected_version: Option<u64>, expected_versions: Option<&[u64]>) -> Option<String> {
    let of = |asked: &Asked| {
        let body = asked.body.borrow().map(|hash| *hash.as_bytes()).unwrap_or_default();
        let one = expected_version.unwrap_or(u64::MAX).to_be_bytes();
        let several: Option<Vec<u8>> = expected_versions.map(|versions| versions.iter().flat_map(|version| version.to_be_bytes()).collect());
        let parts = [asked.route.as_bytes(), subject.as_bytes(), &one, &body];
        fingerprint::of(&parts.into_iter().chain(several.as_deref()).collect::<Vec<_>>())
    };
    ASKED.try_with(of).ok()
}
