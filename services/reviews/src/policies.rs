//! What orders ask of reviews, and reviews of ratings.

use std::collections::BTreeSet;

use daybook::Policy;
use daybook_cqrs_es::{Command, OnLog, Recorded};
use domain::order::{self, Order};
use domain::rating::{self, Rating};
use domain::{OrderId, ProductRef, ReviewId};

use crate::review::{Review, ReviewCommand, ReviewEvent};

/// Reviews hear who bought what: each product of a paid order.
pub struct RecordPurchase;
impl Policy for RecordPurchase {
    const NAME: &'static str = "record-purchase";
    type Source = Order;
    type Target = OnLog<Review>;

    fn react(subject: &str, event: &order::Event) -> Vec<(String, Command<ReviewEvent>)> {
        let (order::Event::Paid(ending), Ok(order)) = (event, subject.parse::<OrderId>()) else { return vec![] };
        let products: BTreeSet<ProductRef> = ending.lines.iter().map(|(_, product)| *product).collect();
        let bought = OnLog::<Review>::handle(&ReviewCommand::RecordPurchase { order: subject.to_owned() });
        let id = |product| ReviewId { customer: order.customer, product }.to_string();
        products.into_iter().filter_map(|product| Some((id(product), bought.as_ref().ok()?.clone()))).collect()
    }
}

/// The catalog hears what reviews give.
pub struct CountStars;
impl Policy for CountStars {
    const NAME: &'static str = "count-stars";
    type Source = OnLog<Review>;
    type Target = Rating;

    fn react(subject: &str, recorded: &Recorded<ReviewEvent>) -> Vec<(String, rating::Command)> {
        let (before, after) = match &recorded.event {
            ReviewEvent::Written(opinion) => (None, Some(opinion.stars)),
            ReviewEvent::Edited { before, opinion } => (Some(*before), Some(opinion.stars)),
            ReviewEvent::Withdrawn { before } => (Some(*before), None),
            ReviewEvent::Bought { .. } | ReviewEvent::Answered { .. } => return vec![],
        };
        let count = |id: ReviewId| (id.product.to_string(), rating::Command::Count { before, after });
        subject.parse().map(count).into_iter().collect()
    }
}
