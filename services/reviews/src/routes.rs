//! How reviews are reached over HTTP.

use daybook::web::{
    Access, App, AsOf, Body, CommandRequest, Failure, HeaderMap, Listing, Operation, Path, Query, Response, Routes, State, Under, list, row_of,
};
use daybook_cqrs_es::OnLog;
use domain::{CustomerId, ProductRef, ReviewId, SellerId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::review::{Opinion, Review, ReviewCommand};
use crate::rows::{PurchaseRow, ReviewRow, purchases_of, review_key, reviews_of};

/// The service, and its view of reviews.
pub const REVIEWS: &str = "reviews";
/// The id of one, and what ids look like.
pub const EXAMPLE: (&str, &str) = ("17-42-1", "^(0|[1-9][0-9]*)-(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$");

/// What a customer says.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OpinionGiven {
    /// 1 to 5
    stars: u8,
    #[serde(default)]
    title: String,
    #[serde(default)]
    text: String,
}

impl From<OpinionGiven> for Opinion {
    fn from(OpinionGiven { stars, title, text }: OpinionGiven) -> Self {
        Self { stars, title, text }
    }
}

/// What a seller says.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AnswerGiven {
    text: String,
}

/// All of them.
pub fn routes() -> Routes {
    let one = |operation: Operation| operation.text_part("id", EXAMPLE.0, EXAMPLE.1);
    let command = |summary| one(Operation::command::<OnLog<Review>>(summary));
    let pair = "^(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$";
    let lamp = || json!({ "stars": 5, "title": "Bright", "text": "It shines." });
    Routes::of(REVIEWS, Access::Owners(&["customer"]))
        .post("/reviews/{id}", write, command("Reviews a product that the customer bought").example(lamp()))
        .put("/reviews/{id}", edit, command("Says something else of it").example(lamp()))
        .delete("/reviews/{id}", withdraw, command("Takes a review back, for good"))
        .get("/reviews/{id}", show, one(Operation::row::<ReviewRow>("Shows a review")).by(Access::Anyone))
        .get("/products/{id}/reviews", of_product, Operation::page::<ReviewRow>("Lists a product's reviews").by(Access::Anyone).text_part("id", "42-1", pair))
        .get(
            "/customers/{id}/reviews",
            of_customer,
            Operation::page::<PurchaseRow>("Lists what a customer bought, and whether they reviewed it").part("id", "17"),
        )
        .post(
            "/sellers/{id}/reviews/{review}/answer",
            answer,
            Operation::command::<OnLog<Review>>("Answers a review of one of the seller's products")
                .by(Access::Owners(&["seller"]))
                .part("id", "42")
                .text_part("review", EXAMPLE.0, EXAMPLE.1)
                .example(json!({ "text": "Thank you." })),
        )
}

fn id_of<T: std::str::FromStr<Err = String>>(part: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|why: String| Failure::bad(&format!("/{part}"), why))
}

async fn send(app: &App, id: ReviewId, headers: &HeaderMap, command: &ReviewCommand) -> Result<Response, Failure> {
    let command = OnLog::<Review>::handle(command).map_err(Failure::internal)?;
    CommandRequest::<OnLog<Review>>::own(REVIEWS, id.to_string(), headers)?.send(app, &command).await
}

async fn write(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, Body(given): Body<OpinionGiven>) -> Result<Response, Failure> {
    send(&app, id_of("id", &id)?, &headers, &ReviewCommand::Write(given.into())).await
}

async fn edit(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, Body(given): Body<OpinionGiven>) -> Result<Response, Failure> {
    send(&app, id_of("id", &id)?, &headers, &ReviewCommand::Edit(given.into())).await
}

async fn withdraw(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    send(&app, id_of("id", &id)?, &headers, &ReviewCommand::Withdraw).await
}

async fn answer(
    State(app): State<App>,
    Path((seller, id)): Path<(String, String)>,
    headers: HeaderMap,
    Body(given): Body<AnswerGiven>,
) -> Result<Response, Failure> {
    let (seller, id) = (id_of::<SellerId>("id", &seller)?, id_of::<ReviewId>("review", &id)?);
    if id.product.seller != seller {
        return Err(Failure::bad("/review", format!("{} is no product of seller {seller}", id.product)));
    }
    let command = OnLog::<Review>::handle(&ReviewCommand::Answer { text: given.text }).map_err(Failure::internal)?;
    CommandRequest::<OnLog<Review>>::own(REVIEWS, id.to_string(), &headers)?.by_owner_of(seller.to_string()).send(&app, &command).await
}

async fn show(State(app): State<App>, Path(id): Path<String>, Query(then): Query<AsOf>, headers: HeaderMap) -> Result<Response, Failure> {
    let found = id_of::<ReviewId>("id", &id)?;
    row_of::<OnLog<Review>, ReviewRow>(&app, REVIEWS, (&id, &review_key(found)), &then, &headers, |row| row.revision).await
}

async fn of_product(State(app): State<App>, Path(id): Path<String>, Query(listing): Query<Listing>, headers: HeaderMap) -> Result<Response, Failure> {
    let prefix = reviews_of(id_of::<ProductRef>("id", &id)?);
    list::<ReviewRow>(&app, REVIEWS, Under::all(&prefix), listing, &headers).await
}

async fn of_customer(State(app): State<App>, Path(id): Path<String>, Query(listing): Query<Listing>, headers: HeaderMap) -> Result<Response, Failure> {
    let prefix = purchases_of(id_of::<CustomerId>("id", &id)?);
    list::<PurchaseRow>(&app, REVIEWS, Under::one(&id, &prefix), listing, &headers).await
}
