//! What readers see: reviews by product, and what a customer bought and may review.

use daybook::{FoldError, Overlay, Seen};
use daybook_cqrs_es::OnLog;
use domain::{CustomerId, ProductRef, ReviewId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::review::{Review, ReviewEvent};

/// What readers see of a review.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ReviewRow {
    /// `<customer>-<seller>-<product>`
    pub id: String,
    /// `<seller>-<product>`
    pub product: String,
    /// who wrote it
    pub customer: u64,
    /// 1 to 5
    pub stars: u8,
    /// in a few words
    pub title: String,
    /// in more of them
    pub text: String,
    /// the seller's
    pub answer: Option<String>,
    /// when it was written, in log time
    pub written_at: String,
    /// when it was edited last, in log time
    pub edited_at: Option<String>,
    /// the aggregate's version
    pub revision: u64,
}

/// What a customer sees of something they bought.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PurchaseRow {
    /// the review's, written or not: `<customer>-<seller>-<product>`
    pub id: String,
    /// `<seller>-<product>`
    pub product: String,
    /// the first that it was bought with
    pub order: String,
    /// when that was paid, in log time
    pub bought_at: String,
    /// `awaited`, `written` or `withdrawn`
    pub review: String,
    /// the aggregate's version
    pub revision: u64,
}

fn of_product(product: ProductRef) -> String {
    format!("{:0>20}-{:0>20}", product.seller, product.product)
}

/// Before the keys of a product's reviews.
pub fn reviews_of(product: ProductRef) -> String {
    format!("p/{}/", of_product(product))
}

/// The key of a review that stands.
pub fn review_key(id: ReviewId) -> String {
    format!("{}{:0>20}", reviews_of(id.product), id.customer)
}

/// Before the keys of what a customer bought.
pub fn purchases_of(customer: CustomerId) -> String {
    format!("c/{customer:0>20}/")
}

/// The view.
pub fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(recorded) = seen.event::<OnLog<Review>, _>()? else { return Ok(()) };
    let Ok(id) = seen.envelope.subject.parse::<ReviewId>() else { return Ok(()) };
    let (revision, at) = (seen.envelope.version.unwrap_or_default(), seen.envelope.time.unwrap_or(seen.record.recorded_at).to_string());
    let (key, product) = (review_key(id), id.product.to_string());
    let mut stands = |now: &str| {
        rows.update::<PurchaseRow>(&format!("{}{}", purchases_of(id.customer), of_product(id.product)), |row| {
            (row.id, row.product, row.revision) = (id.to_string(), product.clone(), revision);
            now.clone_into(&mut row.review);
            if let ReviewEvent::Bought { order } = &recorded.event {
                (row.order, row.bought_at) = (order.clone(), at.clone());
            }
        })
    };
    match &recorded.event {
        ReviewEvent::Bought { .. } => stands("awaited")?,
        ReviewEvent::Written(opinion) => {
            stands("written")?;
            let (stars, title, text) = (opinion.stars, opinion.title.clone(), opinion.text.clone());
            let (id, customer) = (id.to_string(), id.customer.0);
            rows.put(key, ReviewRow { id, product, customer, stars, title, text, answer: None, written_at: at, edited_at: None, revision });
        }
        ReviewEvent::Edited { opinion, .. } => rows.update::<ReviewRow>(&key, |row| {
            (row.stars, row.title, row.text) = (opinion.stars, opinion.title.clone(), opinion.text.clone());
            (row.edited_at, row.revision) = (Some(at), revision);
        })?,
        ReviewEvent::Answered { text } => rows.update::<ReviewRow>(&key, |row| (row.answer, row.revision) = (Some(text.clone()), revision))?,
        ReviewEvent::Withdrawn { .. } => {
            stands("withdrawn")?;
            rows.delete(key);
        }
    }
    Ok(())
}
