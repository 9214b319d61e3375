//! Shipments: packages of paid orders, and the runs that deliver them.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use daybook::eventstore::service::Service;
use daybook::projections::{FoldError, Overlay, Projection, Seen};
use domain::delivery::{self, Chosen, DeliveryRun, SELLERS_MAX};
use domain::policies::{DeliverChosen, SendPackages};
use domain::shipment::{Event, Package, Shipment, Status};
use domain::{OrderId, ProductRef, SellerId, TransactionId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rows::{PAIR, StepRow, listing_key};
use crate::recently::{RECENTLY, Recently};
use daybook::capability::Capability;
use daybook::http::app::{App, id_of};
use daybook::http::as_of::{AsOf, row_of};
use daybook::http::command::{CommandRequest, Failure};
use daybook::http::extract::{Path, Query};
use daybook::http::read::{Listing, Under, list, view};
use daybook::http::route::{Operation, Routes};
use daybook::identity::access::{Access, OPERATORS};

/// The service.
pub fn capability() -> Capability {
    let shipment = |operation: Operation| operation.text_part("id", "17-1", PAIR);
    let run = |operation: Operation| operation.text_part("tid", "run_1", "^[A-Za-z0-9_]{1,100}$");
    let routes = Routes::of("shipment", Access::Owners(&["customer"]))
        .get("/shipments", browse, Operation::page::<ShipmentRow>("Lists shipments"))
        .get("/shipments/{id}", show, shipment(Operation::row::<ShipmentRow>("Shows an order's shipment")))
        .get("/shipments/{id}/history", history, shipment(Operation::page::<StepRow>("Lists what happened to a shipment")))
        .get("/deliveries/{tid}", show_delivery, run(Operation::row::<DeliveryRow>("Shows what a run of deliveries brought").by(OPERATORS)))
        .post("/deliveries/{tid}", deliver, run(Operation::command::<DeliveryRun>("Delivers the oldest packages of ten sellers").by(OPERATORS)));
    let service = Service::new("shipment")
        .owns::<Shipment, _>()
        .belongs_to("customer")
        .owns::<DeliveryRun, _>()
        .follows::<SendPackages, _>("ordering")
        .follows_across::<DeliverChosen, _>("shipment");
    Capability::of(service).queue("shipments", 2, fold, OPEN).view("deliveries", 1, fold_delivery).routes(routes)
}

/// What readers see of a package.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PackageRow {
    /// the order's line, from 0
    pub line: u32,
    /// `<seller>-<product>`
    pub product: String,
    /// `shipped`, `delivered` or `cancelled`
    pub status: String,
}

/// What readers see of a shipment.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ShipmentRow {
    /// its order's
    pub id: String,
    /// `approved`, `in-progress` or `concluded`
    pub status: String,
    /// when its packages were sent, in log time
    pub created_at: String,
    /// one for each line
    pub packages: Vec<PackageRow>,
    /// the aggregate's version
    pub revision: u64,
}

/// A seller's lines of a shipment that are on their way. Keys sort by seller, then by age.
type Open = Vec<u32>;

/// Before the keys of what is on its way.
const OPEN: &str = "u/";

fn seller_prefix(seller: u64) -> String {
    format!("{OPEN}{seller:0>20}/")
}

/// Behind all keys of a seller, and before those of any later one: `0` is the sign after `/`.
fn after_seller(seller: u64) -> String {
    format!("{OPEN}{seller:0>20}0")
}

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(event) = seen.event::<Shipment, _>()? else { return Ok(()) };
    let (subject, at) = (&seen.envelope.subject, seen.record.recorded_at);
    let key = listing_key(subject);
    let line = match &event {
        Event::Created { .. } => None,
        Event::Delivered { line, .. } | Event::Cancelled { line, .. } => Some(*line),
    };
    StepRow::of(seen, line).put(rows, &key);
    let mut created_at = String::new();
    rows.update::<ShipmentRow>(&format!("s/{key}"), |row| {
        row.id.clone_from(subject);
        row.revision = seen.envelope.version.unwrap_or_default();
        match &event {
            Event::Created { lines } => {
                row.created_at = at.to_string();
                let package = |(line, product): &(u32, ProductRef)| PackageRow { line: *line, product: product.to_string(), status: "shipped".to_owned() };
                row.packages = lines.iter().map(package).collect();
            }
            Event::Delivered { line, .. } => row.end(*line, "delivered"),
            Event::Cancelled { line, .. } => row.end(*line, "cancelled"),
        }
        row.status = row.stands().to_owned();
        created_at.clone_from(&row.created_at);
    })?;
    let open = |seller: u64| format!("{}{created_at}/{subject}", seller_prefix(seller));
    match event {
        Event::Created { lines } => {
            let mut sellers = BTreeMap::<u64, Open>::new();
            lines.iter().for_each(|(line, product)| sellers.entry(product.seller.0).or_default().push(*line));
            sellers.into_iter().try_for_each(|(seller, lines)| rows.update::<Open>(&open(seller), |open| *open = lines))?;
        }
        Event::Delivered { line, product } | Event::Cancelled { line, product } => {
            let (key, mut left) = (open(product.seller.0), 0);
            rows.update::<Open>(&key, |open| {
                open.retain(|open| *open != line);
                left = open.len();
            })?;
            if left == 0 {
                rows.delete(key);
            }
        }
    }
    Ok(())
}

impl ShipmentRow {
    fn end(&mut self, line: u32, how: &str) {
        self.packages.iter_mut().filter(|package| package.line == line).for_each(|package| how.clone_into(&mut package.status));
    }

    fn stands(&self) -> &'static str {
        stands(Status::of(self.packages.iter().map(|package| match package.status.as_str() {
            "delivered" => Package::Delivered,
            "cancelled" => Package::Cancelled,
            _ => Package::Shipped,
        })))
    }
}

/// How far a shipment is, as readers are told.
pub fn stands(status: Status) -> &'static str {
    match status {
        Status::New | Status::Approved => "approved",
        Status::InProgress => "in-progress",
        Status::Concluded => "concluded",
    }
}

/// What readers see of a seller's packages in a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ChosenRow {
    /// the shipment's, and its order's
    pub order: String,
    /// whose
    pub seller: u64,
    /// of which lines
    pub lines: Vec<u32>,
}

/// What readers see of a run of "update delivery".
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryRow {
    /// its caller's transaction id
    pub id: String,
    /// what it chose
    pub packages: Vec<ChosenRow>,
    /// the aggregate's version
    pub revision: u64,
}

fn fold_delivery(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(delivery::Event::Chosen { packages }) = seen.event::<DeliveryRun, _>()? else { return Ok(()) };
    let packages = packages.into_iter().map(|Chosen { seller, order, lines }| ChosenRow { order: order.to_string(), seller: seller.0, lines }).collect();
    let row = DeliveryRow { id: seen.envelope.subject.clone(), packages, revision: seen.envelope.version.unwrap_or_default() };
    rows.put(row.id.clone(), row);
    Ok(())
}

/// How many of a seller's oldest shipments are looked at for one that is not being delivered just now.
const LOOKED_AT: usize = 64;

/// For each of the first ten sellers with packages on their way: those of the oldest shipment that no other run of this
/// moment took. Runs of other instances may take the same; a package is delivered once all the same.
fn choose(shipments: &Projection, recently: &Recently) -> Result<Vec<Chosen>, Failure> {
    let queue = shipments.queue().ok_or_else(|| Failure::internal("shipments have no queue"))?;
    let (mut chosen, mut from) = (vec![], OPEN.to_owned());
    while let Some(seller) = queue.first(&from).filter(|_| chosen.len() < SELLERS_MAX).and_then(|key| seller_of(&key)) {
        let free = queue.find(&seller_prefix(seller), LOOKED_AT, |key| recently.give(key));
        if let Some(key) = free
            && let Some(lines) = shipments.get::<Open>(&key)?
            && let Some(order) = key.rsplit('/').next().and_then(|order| order.parse().ok())
        {
            chosen.push(Chosen { seller: SellerId(seller), order, lines });
        }
        from = after_seller(seller);
    }
    Ok(chosen)
}

fn seller_of(key: &str) -> Option<u64> {
    key.strip_prefix(OPEN)?.split('/').next()?.parse().ok()
}

/// The id of a run of deliveries, from a path.
pub(crate) fn transaction(tid: String) -> Result<String, Failure> {
    tid.parse::<TransactionId>().map(TransactionId::into_inner).map_err(|why| Failure::bad("/tid", why))
}

/// Chooses packages, and delivers them.
pub(crate) async fn send(app: &App, ask: CommandRequest<DeliveryRun>, headers: &HeaderMap) -> Result<Response, Failure> {
    let packages = choose(view(app, "shipments", headers).await?, &RECENTLY)?;
    // What to choose is another thing at each call, so it is not the command that is the same but the run: it knows itself.
    ask.anew().send(app, &delivery::Command::Choose { packages }).await
}

async fn deliver(State(app): State<App>, Path(tid): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    send(&app, CommandRequest::own("shipment", transaction(tid)?, &headers)?, &headers).await
}

async fn show_delivery(State(app): State<App>, Path(tid): Path<String>, Query(then): Query<AsOf>, headers: HeaderMap) -> Result<Response, Failure> {
    let tid = transaction(tid)?;
    row_of::<DeliveryRun, DeliveryRow>(&app, "deliveries", (&tid, &tid), &then, &headers, |row| row.revision).await
}

async fn show(State(app): State<App>, Path(id): Path<String>, Query(then): Query<AsOf>, headers: HeaderMap) -> Result<Response, Failure> {
    let id = id_of::<OrderId>(&id)?;
    row_of::<Shipment, ShipmentRow>(&app, "shipments", (&id, &format!("s/{}", listing_key(&id))), &then, &headers, |row| row.revision).await
}

async fn history(State(app): State<App>, Path(id): Path<String>, Query(listing): Query<Listing>, headers: HeaderMap) -> Result<Response, Failure> {
    let id = id_of::<OrderId>(&id)?;
    list::<StepRow>(&app, "shipments", Under::one(&id, &StepRow::prefix(&listing_key(&id))), listing, &headers).await
}

async fn browse(State(app): State<App>, Query(listing): Query<Listing>, headers: HeaderMap) -> Result<Response, Failure> {
    list::<ShipmentRow>(&app, "shipments", Under::all("s/"), listing, &headers).await
}

#[cfg(test)]
mod tests {
    use super::{after_seller, seller_prefix};

    #[test]
    fn the_next_seller_is_found_whatever_the_number() {
        for seller in [0, 9, 10, 99, u64::MAX - 1] {
            let key = format!("{}9999-12-31T23:59:59Z/17-1", seller_prefix(seller));
            assert!(key < after_seller(seller) && after_seller(seller) < seller_prefix(seller + 1), "{seller}");
        }
        assert!(format!("{}~", seller_prefix(u64::MAX)) < after_seller(u64::MAX));
    }
}
