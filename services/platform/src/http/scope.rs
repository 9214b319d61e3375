//! What a request asks, for those who must know it again: which route it came by, and a fingerprint of what was sent.
//! Known while a request is handled, and nowhere else.

use std::cell::RefCell;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use eventstore::fingerprint;

/// A request on its way.
struct Asked {
    /// method and route, as `POST /accounts/{id}/deposits`
    route: String,
    /// of the body; none of a request without one
    body: RefCell<Option<blake3::Hash>>,
}

tokio::task_local! {
    static ASKED: Asked;
}

/// Lets what handles a request know it.
pub async fn known(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    let asked = Asked { route: format!("{} {path}", request.method()), body: RefCell::default() };
    ASKED.scope(asked, next.run(request)).await
}

/// The body was read.
pub fn read(body: &[u8]) {
    let _elsewhere = ASKED.try_with(|asked| asked.body.replace(Some(blake3::hash(body))));
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
