//! Its views and its routes: what readers see of it, and how it is asked.

use std::collections::BTreeMap;

use daybook::schemas::codec::from_json;
use daybook::web::{Access, AnyBody, App, CommandRequest, Failure, HeaderMap, Listing, Operation, Path, Query, Routes, State, Under, list};
use daybook::{Capability, FoldError, Overlay, Seen, StateRow, states};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::hosted::Hosted;
use crate::on_log::{Command, OnLog};
use crate::records::{AppendV1, EventV1, append_kind, appended, version_of};

/// Where an aggregate's states and events are read, and how it is commanded. A service may have several.
pub struct Hosting {
    /// the service that owns it
    pub service: &'static str,
    /// who may command and read it, as cqrs-es aggregates are: by their own commands
    pub access: Access,
    /// Who may append events that were decided elsewhere: [`crate::LogStore`] does. They are not decided again, so nobody who may
    /// not decide in its place. None where nobody does: then there is no such route.
    pub commits: Option<Access>,
    /// where its states are; none where the capability has routes of its own for that
    pub states: Option<HostedStates>,
    /// the view of its events, and the route of one's: `("account-events", "/accounts/{id}/events")`
    pub events: (&'static str, &'static str),
    /// the id of one, for documents, and what ids look like
    pub example: (&'static str, &'static str),
}

/// Where an aggregate's states are read, and it is sent its own commands.
pub struct HostedStates {
    /// their view
    pub view: &'static str,
    /// the route of all of them: `/accounts`
    pub all: &'static str,
    /// the route of one, and of its commands: `/accounts/{id}`
    pub one: &'static str,
}

/// An event, as `CqrsFramework` has it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventRow {
    /// its aggregate's id
    pub id: String,
    /// the aggregate's version after it, from 1
    pub sequence: u64,
    /// its `event_type`
    #[serde(rename = "type")]
    pub event_type: String,
    /// its `event_version`
    pub version: String,
    /// as it was written
    pub payload: Value,
    /// what its committer said of it
    pub metadata: BTreeMap<String, String>,
}

/// A state has whatever shape its own type gives it.
impl<A: Hosted> JsonSchema for OnLog<A> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        A::NAME.into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": { "state": {}, "version": { "type": "integer", "format": "uint64", "minimum": 0 } },
            "required": ["state", "version"]
        })
    }
}

/// What the rows of an aggregate's events begin with. No id's is the beginning of another's.
fn prefix(id: &str) -> String {
    format!("{}:{id}/", id.len())
}

fn fold_events<A: Hosted>(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let (envelope, id) = (seen.envelope, &seen.envelope.subject);
    if seen.event::<OnLog<A>, _>()?.is_none() {
        return Ok(());
    }
    let EventV1 { payload, metadata } = from_json(&envelope.kind, seen.body())?;
    let (sequence, version) = (envelope.version.unwrap_or_default(), version_of::<A>(&envelope.kind)?.to_owned());
    let row = EventRow { id: id.clone(), sequence, event_type: envelope.kind.name.to_string(), version, payload, metadata };
    rows.put(format!("{}{sequence:020}", prefix(id)), row);
    Ok(())
}

fn is_id<A: Hosted>(id: &str) -> Result<(), Failure> {
    id.parse::<A::Id>().map(drop).map_err(|why| Failure::bad("/id", why.to_string()))
}

impl Hosting {
    /// A capability with the views and routes of `A`, which its service owns.
    pub fn of<A: Hosted>(&self, capability: Capability) -> Capability {
        let capability = capability.view(self.events.0, 1, fold_events::<A>).routes(self.history::<A>());
        let Some(of) = &self.states else { return capability };
        capability.view(of.view, 1, states::<OnLog<A>, _>).routes(self.states::<A>(of))
    }

    fn states<A: Hosted>(&self, of: &HostedStates) -> Routes {
        let ((id, pattern), service) = (self.example, self.service);
        let one = |operation: Operation| operation.text_part("id", id, pattern);
        let handle = async move |State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, AnyBody(command): AnyBody| {
            is_id::<A>(&id)?;
            A::Command::deserialize(&command).map_err(|why| Failure::bad("", format!("no command of {}: {why}", A::TYPE)))?;
            CommandRequest::<OnLog<A>>::own(service, id, &headers)?.send(&app, &Command::Handle(command)).await
        };
        Routes::of(service, self.access)
            .post(of.one, handle, one(Operation::command::<OnLog<A>>("Sends it one of its commands")).about("The body is the command as serde writes it."))
            .row::<StateRow<OnLog<A>>, OnLog<A>>(of.one, of.view, str::to_owned, |row| row.revision, one(Operation::new("Shows its state")))
            .page::<StateRow<OnLog<A>>>(of.all, of.view, "", Operation::new("Lists states"))
    }

    fn history<A: Hosted>(&self) -> Routes {
        let ((id, pattern), service, view) = (self.example, self.service, self.events.0);
        let one = |operation: Operation| operation.text_part("id", id, pattern);
        let events = async move |State(app): State<App>, Path(id): Path<String>, Query(listing): Query<Listing>, headers: HeaderMap| {
            is_id::<A>(&id)?;
            list::<EventRow>(&app, view, Under::one(&id, &prefix(&id)), listing, &headers).await
        };
        let routes = Routes::of(service, self.access).get(self.events.1, events, one(Operation::page::<EventRow>("Lists its events, from the first")));
        let Some(commits) = self.commits else { return routes };
        let append = async move |State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, AnyBody(given): AnyBody| {
            is_id::<A>(&id)?;
            let given = AppendV1::deserialize(&given).map_err(|why| Failure::bad("", why.to_string()))?;
            let command = appended::<A>(&append_kind::<A>(), given).map_err(|why| Failure::bad("", why.to_string()))?;
            CommandRequest::<OnLog<A>>::own(service, id, &headers)?.send(&app, &command).await
        };
        let about = "They are appended as they are if the aggregate is at the version at which they were decided, and refused as `version-conflict` if not.";
        let appends = Operation::commands("Appends events that were decided elsewhere", A::REFUSALS)
            .about(about)
            .example(json!({ "expected": 0, "events": [] }))
            .by(commits);
        routes.merge(Routes::of(service, commits).post(self.events.1, append, one(appends)))
    }
}
