//! What a request's target says: the ids in its path, and its query's parameters. Unknown parameters are refused.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::given::{Given, given};
use super::json::{Json, Object};

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

/// The parameters of a query, as they are written.
pub fn pairs(uri: &Uri) -> Result<Object, Failure> {
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    let pairs = pairs.map_err(|_| Failure::bad("/query", "the query is not name=value, several of them separated by &"))?;
    Ok(pairs.0.into_iter().map(|(name, value)| (name, Json::Parameter(value))).collect())
}
