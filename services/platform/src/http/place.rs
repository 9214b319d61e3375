//! What a request's target says: the ids in its path, and its query's parameters. Unknown parameters are refused.

use axum::body::HttpBody;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::given::{Given, given};
use super::json::{Json, Object};

/// The routes whose queries say something; all others have none.
const WITH_QUERY: [&str; 17] = [
    "/products",
    "/stock",
    "/sellers",
    "/sellers/{id}/dashboard",
    "/orders",
    "/orders/{id}/history",
    "/orders/{id}/refunds",
    "/commands/{id}",
    "/payments",
    "/payments/{id}/history",
    "/shipments",
    "/shipments/{id}/history",
    "/dead-letters",
    "/inspect/{aggregate}/{id}",
    "/sagas",
    "/topics/{topic}/{partition}",
    "/readyz",
];
/// The routes that are asked to do something and told nothing besides.
const WITHOUT_BODY: [&str; 4] = ["/verify", "/dead-letters/{service}/{partition}/{offset}/retry", "/deliveries/{tid}", "/cart/{customer}/seal"];
/// A body that says nothing: `null`, or an object without fields.
const NOTHING_BYTES_MAX: u64 = 4;

/// The parts of the path that a route names.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let raw = RawPathParams::from_request_parts(parts, state).await.map_err(|why| match why {
            RawPathParamsRejection::InvalidUtf8InPathParam(_) => Failure::bad("/path", "what the path's percent signs stand for is not UTF-8"),
            why => Failure::internal(why),
        })?;
        let mut given: Vec<Json> = raw.iter().map(|(_, value)| Json::Parameter(value.to_owned())).collect();
        let path = if given.len() == 1 { given.pop().map_or(Json::Null, |only| only) } else { Json::List(given) };
        T::deserialize(path).map(Self).map_err(|wrong| {
            let at = wrong.pointer.trim_start_matches('/').parse().unwrap_or_default();
            let (name, value) = raw.iter().nth(at).unwrap_or_default();
            Failure::bad(&format!("/path/{name}"), format!("'{value}' in the path is no whole number that fits there, in its shortest spelling"))
        })
    }
}

/// The parameters of the query.
pub struct Query<T>(pub T);

impl<T: Given, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        given(pairs(&parts.uri)?, "parameter").map(Self).map_err(|wrong| Failure::bad(&format!("/query{}", wrong.pointer), wrong.to_string()))
    }
}

fn pairs(uri: &Uri) -> Result<Object, Failure> {
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    let pairs = pairs.map_err(|_| Failure::bad("/query", "the query is not name=value, several of them separated by &"))?;
    Ok(pairs.0.into_iter().map(|(name, value)| (name, Json::Parameter(value))).collect())
}

/// Refuses parameters and bodies where a route has none: nobody would read them.
pub async fn nothing_unread(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD) && route.is_some_and(|route| WITH_QUERY.contains(&route));
    if route.is_some() && !reads {
        match pairs(request.uri()) {
            Err(failure) => return failure.into_response(),
            Ok(pairs) => {
                if let Some((name, _)) = pairs.first() {
                    return Failure::bad(&format!("/query/{name}"), format!("'{name}' is no parameter of this route: it has none")).into_response();
                }
            }
        }
    }
    let reads_none = *request.method() == Method::DELETE
        || (matches!(*request.method(), Method::POST | Method::PATCH) && route.is_some_and(|route| WITHOUT_BODY.contains(&route)));
    if reads_none && request.body().size_hint().lower() > NOTHING_BYTES_MAX {
        return Failure::bad("", "this route takes no body").into_response();
    }
    next.run(request).await
}
