//! Routes as data: what is declared of a route serves it, lists it at `GET /`, and documents it. A route that is not
//! declared cannot be served: a capability has no other way to give one.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use axum::Router;
use axum::extract::State;
use axum::handler::Handler;
use axum::http::{HeaderMap, Method};
use axum::routing::{MethodFilter, MethodRouter, on};
use kernel::Aggregate;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use schemas::Codec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::app::App;
use super::as_of::{AsOf, row_of};
use super::body::{AnyBody, Body};
use super::command::CommandRequest;
use super::extract::{Path, Query};
use super::failure::Failure;
use super::given::Given;
use super::read::{Listing, Under, list};
use crate::identity::access::{Access, OPERATORS};

/// Makes the schema of a type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// A route: how it is asked, and what is said of it.
pub struct Route {
    /// how
    pub method: Method,
    /// where, with its parameters in braces
    pub path: &'static str,
    /// what is said of it
    pub operation: Operation,
    /// who may ask
    pub access: Access,
    serve: MethodRouter<App>,
}

/// Routes of one service, or of several. There is none without a word on who may call it: what is said for all of them holds for
/// each, unless the route says otherwise by [`Operation::by`].
pub struct Routes {
    tag: &'static str,
    access: Access,
    all: Vec<Route>,
}

impl Default for Routes {
    fn default() -> Self {
        Self::of("", OPERATORS)
    }
}

impl Routes {
    /// Those of this service, in documents, and who may call them.
    pub fn of(tag: &'static str, access: Access) -> Self {
        Self { tag, access, all: vec![] }
    }

    /// It is read.
    #[must_use]
    pub fn get<H: Handler<T, App>, T: Takes + 'static>(self, path: &'static str, handler: H, operation: Operation) -> Self {
        self.with(Method::GET, MethodFilter::GET, path, handler, operation)
    }

    /// It is asked to do something.
    #[must_use]
    pub fn post<H: Handler<T, App>, T: Takes + 'static>(self, path: &'static str, handler: H, operation: Operation) -> Self {
        self.with(Method::POST, MethodFilter::POST, path, handler, operation)
    }

    /// It is put there.
    #[must_use]
    pub fn put<H: Handler<T, App>, T: Takes + 'static>(self, path: &'static str, handler: H, operation: Operation) -> Self {
        self.with(Method::PUT, MethodFilter::PUT, path, handler, operation)
    }

    /// It is changed.
    #[must_use]
    pub fn patch<H: Handler<T, App>, T: Takes + 'static>(self, path: &'static str, handler: H, operation: Operation) -> Self {
        self.with(Method::PATCH, MethodFilter::PATCH, path, handler, operation)
    }

    /// It is taken away.
    #[must_use]
    pub fn delete<H: Handler<T, App>, T: Takes + 'static>(self, path: &'static str, handler: H, operation: Operation) -> Self {
        self.with(Method::DELETE, MethodFilter::DELETE, path, handler, operation)
    }

    /// One row of a view is read, by the id in its path: now, or as it was. The events of that `A` alone make it.
    #[must_use]
    pub fn row<T, A>(self, path: &'static str, view: &'static str, key: fn(&str) -> String, revision: fn(&T) -> u64, operation: Operation) -> Self
    where
        T: Serialize + DeserializeOwned + JsonSchema + Send + 'static,
        A: Aggregate,
    {
        let read = async move |State(app): State<App>, Path(id): Path<String>, Query(then): Query<AsOf>, headers: HeaderMap| {
            id.parse::<A::Id>().map_err(|why| Failure::bad("/id", why.to_string()))?;
            row_of::<A, T>(&app, view, (&id, &key(&id)), &then, &headers, revision).await
        };
        self.get(path, read, operation.of_row::<T>())
    }

    /// The rows of a view whose keys begin with `prefix` are read, a page at a time.
    #[must_use]
    pub fn page<T>(self, path: &'static str, view: &'static str, prefix: &'static str, operation: Operation) -> Self
    where
        T: Serialize + DeserializeOwned + JsonSchema + Send + 'static,
    {
        let read = async move |State(app): State<App>, Query(listing): Query<Listing>, headers: HeaderMap| {
            list::<T>(&app, view, Under::all(prefix), listing, &headers).await
        };
        self.get(path, read, operation.of_page::<T>())
    }

    /// An aggregate, whose id is in the path, is sent the command that `make` makes of a body.
    #[must_use]
    pub fn command<A, B, W>(self, method: Method, path: &'static str, make: fn(B) -> Result<A::Command, Failure>, operation: Operation) -> Self
    where
        A: Codec<W> + Aggregate<Id: FromStr<Err: Display>>,
        B: Given + JsonSchema + Send + 'static,
        W: 'static,
    {
        let service = self.tag;
        let send = async move |State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, Body(given): Body<B>| {
            id.parse::<A::Id>().map_err(|why| Failure::bad("/id", why.to_string()))?;
            CommandRequest::<A>::own(service, id, &headers)?.send(&app, &make(given)?).await
        };
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::POST);
        self.with(method, filter, path, send, operation)
    }

    fn with<H: Handler<T, App>, T: Takes + 'static>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        handler: H,
        mut operation: Operation,
    ) -> Self {
        T::describe(&mut operation);
        operation.tag = self.tag;
        let access = operation.access.unwrap_or(self.access);
        self.all.push(Route { method, path, operation, access, serve: on(filter, handler) });
        self
    }

    /// These, and others.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.all.extend(other.all);
        self
    }

    /// Each of them, in the order of their declaration.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.all.iter()
    }

    /// What serves them, each behind what `guard` makes of it.
    pub fn router(&self, guard: impl Fn(&Route, MethodRouter<App>) -> MethodRouter<App>) -> Router<App> {
        self.all.iter().fold(Router::new(), |router, route| router.route(route.path, guard(route, route.serve.clone())))
    }
}

/// What a handler takes says what its route takes.
pub trait Takes {
    /// Adds it to what is said of the route.
    fn describe(operation: &mut Operation);
}

impl Takes for State<App> {
    fn describe(_: &mut Operation) {}
}

impl Takes for HeaderMap {
    fn describe(_: &mut Operation) {}
}

impl<T: JsonSchema> Takes for Path<T> {
    fn describe(operation: &mut Operation) {
        operation.path = Some(T::json_schema);
    }
}

impl<T: JsonSchema> Takes for Query<T> {
    fn describe(operation: &mut Operation) {
        operation.query = Some(T::json_schema);
    }
}

impl Takes for AnyBody {
    fn describe(operation: &mut Operation) {
        operation.body.get_or_insert(|_| Schema::default());
    }
}

impl<T: JsonSchema> Takes for Body<T> {
    fn describe(operation: &mut Operation) {
        operation.body = Some(T::json_schema);
    }
}

macro_rules! takes {
    ($($taken:ident)*) => {
        impl<M, $($taken: Takes),*> Takes for (M, $($taken,)*) {
            fn describe(operation: &mut Operation) {
                $($taken::describe(operation);)*
                let _no_part = operation;
            }
        }
    };
}
takes! {}
takes! { A }
takes! { A B }
takes! { A B C }
takes! { A B C D }
takes! { A B C D E }

/// An answer that a route gives.
#[derive(Clone)]
pub struct ResponseSpec {
    /// in words
    pub what: &'static str,
    /// its body: type and schema; none without one
    pub body: Option<(&'static str, SchemaOf)>,
}

/// Which headers a route goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// none of those below
    #[default]
    Plain,
    /// a read of a view: how fresh, and how long it may wait for that
    Read,
    /// a read of one row, which has a version
    Row,
    /// a command: its name, how long it is waited for, its conditions
    Command,
}

/// What is said of a route: what it does, takes and answers.
#[derive(Clone)]
pub struct Operation {
    /// what it does, in a line
    pub summary: &'static str,
    /// more about it
    pub description: &'static str,
    /// whose it is
    pub tag: &'static str,
    /// which headers it goes by
    pub kind: Kind,
    /// of the parts of its path, one or a tuple of them
    pub path: Option<SchemaOf>,
    /// of its query
    pub query: Option<SchemaOf>,
    /// of its body
    pub body: Option<SchemaOf>,
    /// what it answers, by status
    pub answers: BTreeMap<u16, ResponseSpec>,
    /// the codes of its problems, besides those that every route has
    pub codes: Vec<&'static str>,
    /// it tells the refusals of other routes' commands as well
    pub any_refusal: bool,
    /// a part of its path by name: an example, and the pattern of a text
    pub parts: Vec<(&'static str, &'static str, Option<&'static str>)>,
    /// its body's names may be in any letter case
    pub any_case: bool,
    /// a body that it takes
    pub example: Option<Value>,
    /// who may ask it, if others than may ask its service's other routes
    pub access: Option<Access>,
    /// its bodies hold secrets
    pub secret: bool,
}

/// What the platform's own routes have as examples: something of the application's.
#[derive(Clone, Copy)]
pub struct Example {
    /// a service
    pub service: &'static str,
    /// the type of an aggregate
    pub aggregate: &'static str,
    /// the id of one
    pub id: &'static str,
    /// a command, as `<service>.<partition>.<id>`
    pub command: &'static str,
}

/// A page of rows.
#[derive(JsonSchema)]
#[schemars(rename = "PageOf{T}")]
#[allow(dead_code, reason = "only described")]
struct PageOf<T> {
    /// the rows
    items: Vec<T>,
    /// where the next page begins; null after the last
    next: Option<String>,
    /// the partitions of which nothing new is shown; not there when there are none
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Missing>,
}

/// A partition that stands still.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only described")]
struct Missing {
    /// its number
    partition: u16,
    /// why
    why: String,
}

impl Operation {
    /// One that does this, and answers as is added.
    pub fn new(summary: &'static str) -> Self {
        Self {
            summary,
            description: "",
            tag: "",
            kind: Kind::Plain,
            path: None,
            query: None,
            body: None,
            answers: BTreeMap::new(),
            codes: vec![],
            any_refusal: false,
            parts: vec![],
            any_case: false,
            example: None,
            access: None,
            secret: false,
        }
    }

    /// A read of one aggregate's row, by its id.
    pub fn row<T: JsonSchema>(summary: &'static str) -> Self {
        Self::new(summary).of_row::<T>()
    }

    fn of_row<T: JsonSchema>(self) -> Self {
        Self { kind: Kind::Row, ..self }
            .answers::<T>(200, "The row")
            .nothing(304, "It is still at the version that If-None-Match names")
            .fails(&["not-found", "version-conflict"])
    }

    /// A read of rows, a page at a time.
    pub fn page<T: JsonSchema>(summary: &'static str) -> Self {
        Self::new(summary).of_page::<T>()
    }

    fn of_page<T: JsonSchema>(self) -> Self {
        Self { kind: Kind::Read, ..self }.answers::<PageOf<T>>(200, "A page")
    }

    /// A command to an aggregate, which may refuse it.
    pub fn command<A: Aggregate>(summary: &'static str) -> Self {
        Self::commands(summary, A::REFUSALS)
    }

    /// A command to any aggregate, and the codes of what it may be refused for.
    pub fn commands(summary: &'static str, refusals: &[&'static str]) -> Self {
        Self { kind: Kind::Command, ..Self::new(summary) }
            .answers::<super::outcome::Answered>(200, "Done: what it came to")
            .answers::<super::outcome::Pending>(202, "Written for good, and not decided yet: where its outcome is found")
            .fails(refusals)
            .fails(&["version-conflict", "id-used", "malformed", "unknown-type", "newer-version", "misrouted", "too-large", "panicked"])
    }

    /// More about it.
    #[must_use]
    pub fn about(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// It answers this status with a JSON body.
    #[must_use]
    pub fn answers<T: JsonSchema>(self, status: u16, what: &'static str) -> Self {
        self.with(status, ResponseSpec { what, body: Some(("application/json", |schemas| schemas.subschema_for::<T>())) })
    }

    /// It answers this status with text.
    #[must_use]
    pub fn text(self, status: u16, what: &'static str) -> Self {
        self.with(status, ResponseSpec { what, body: Some(("text/plain", |schemas| schemas.subschema_for::<String>())) })
    }

    /// It answers this status with a file of this media type, or of any (`*/*`).
    #[must_use]
    pub fn file(self, status: u16, media: &'static str, what: &'static str) -> Self {
        self.with(status, ResponseSpec { what, body: Some((media, |schemas| schemas.subschema_for::<String>())) })
    }

    /// It answers this status without a body.
    #[must_use]
    pub fn nothing(self, status: u16, what: &'static str) -> Self {
        self.with(status, ResponseSpec { what, body: None })
    }

    /// It answers 201 where a command of another route answers 200.
    #[must_use]
    pub fn created(mut self) -> Self {
        if let Some(done) = self.answers.remove(&200) {
            self.answers.insert(201, done);
        }
        self
    }

    /// It may fail with these codes.
    #[must_use]
    pub fn fails(mut self, codes: &[&'static str]) -> Self {
        self.codes.extend(codes);
        self
    }

    /// It tells the refusals of other routes' commands.
    #[must_use]
    pub fn any_refusal(mut self) -> Self {
        self.any_refusal = true;
        self
    }

    /// A part of its path: an example.
    #[must_use]
    pub fn part(mut self, name: &'static str, example: &'static str) -> Self {
        self.parts.push((name, example, None));
        self
    }

    /// A part of its path that is a text: an example, and what it must look like.
    #[must_use]
    pub fn text_part(mut self, name: &'static str, example: &'static str, pattern: &'static str) -> Self {
        self.parts.push((name, example, Some(pattern)));
        self
    }

    /// These may ask it, and not those who may ask its service's other routes.
    #[must_use]
    pub fn by(self, access: Access) -> Self {
        Self { access: Some(access), ..self }
    }

    /// Its bodies hold secrets: nothing is kept by which they could be tried out.
    #[must_use]
    pub fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// A body that it takes.
    #[must_use]
    pub fn example(mut self, body: Value) -> Self {
        self.example = Some(body);
        self
    }

    fn with(mut self, status: u16, answer: ResponseSpec) -> Self {
        self.answers.insert(status, answer);
        self
    }
}
