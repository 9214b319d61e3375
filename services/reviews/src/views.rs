//! What SQL sees of a review: a view of cqrs-es, kept by postgres-es or by the service, in the table `reviews`.

use cqrs_es::{EventEnvelope, View};
use serde::{Deserialize, Serialize};

use crate::review::{Review, ReviewEvent};

/// The table.
pub const TABLE: &str = "reviews";

/// A review, or a purchase that none was written of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReviewView {
    /// `<seller>-<product>`
    pub product: String,
    /// who bought it
    pub customer: String,
    /// none where no review stands
    pub stars: Option<u8>,
    /// in a few words
    pub title: String,
    /// in more of them
    pub text: String,
    /// the seller's
    pub answer: Option<String>,
}

/// Without what PostgreSQL's JSON operators cannot read. No review has it that was decided here; a history may.
fn readable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl View<Review> for ReviewView {
    fn update(&mut self, event: &EventEnvelope<Review>) {
        if let Some((customer, product)) = event.aggregate_id.split_once('-') {
            (self.customer, self.product) = (customer.to_owned(), product.to_owned());
        }
        match &event.payload {
            ReviewEvent::Bought { .. } => {}
            ReviewEvent::Written(opinion) | ReviewEvent::Edited { opinion, .. } => {
                (self.stars, self.title, self.text) = (Some(opinion.stars), readable(&opinion.title), readable(&opinion.text));
            }
            ReviewEvent::Withdrawn { .. } => (self.stars, self.title, self.text, self.answer) = (None, String::new(), String::new(), None),
            ReviewEvent::Answered { text } => self.answer = Some(readable(text)),
        }
    }
}
