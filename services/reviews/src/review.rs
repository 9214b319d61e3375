//! A review as cqrs-es has aggregates: of one product, by one customer. It begins with the purchase. Nothing here knows where it is
//! kept.

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{EventUpcaster, SemanticVersionEventUpcaster};
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Most stars; the fewest are 1.
pub const STARS_MAX: u8 = 5;
/// Longest title, in bytes.
pub const TITLE_BYTES_MAX: usize = 200;
/// Longest text, and longest answer, in bytes.
pub const TEXT_BYTES_MAX: usize = 4_000;

/// A customer's review of a product.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Review {
    /// the customer bought it
    pub bought: bool,
    /// how far it is
    pub stage: Stage,
    /// what the seller answered
    pub answer: Option<String>,
}

/// How far a review is. Never goes back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// not written yet
    #[default]
    Awaited,
    /// it stands
    Written(Opinion),
    /// taken back, for good
    Withdrawn,
}

/// What a customer makes of a product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    /// 1 to 5
    pub stars: u8,
    /// in a few words
    pub title: String,
    /// in more of them
    pub text: String,
}

/// What can be asked of a review.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ReviewCommand {
    /// It was bought.
    RecordPurchase {
        /// with this order
        order: String,
    },
    /// Review it.
    Write(Opinion),
    /// Say something else.
    Edit(Opinion),
    /// Take it back.
    Withdraw,
    /// Answer it, as its seller.
    Answer {
        /// what
        text: String,
    },
}

/// What can have happened to a review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ReviewEvent {
    /// The product was bought.
    Bought {
        /// with this order
        order: String,
    },
    /// It was reviewed.
    Written(Opinion),
    /// It was reviewed otherwise.
    Edited {
        /// the stars that it gave before
        before: u8,
        /// what it says now
        opinion: Opinion,
    },
    /// It was taken back.
    Withdrawn {
        /// the stars that it gave before
        before: u8,
    },
    /// The seller answered.
    Answered {
        /// what
        text: String,
    },
}

/// What `Written` is called since it has a title. 1.0 had none.
pub const TITLED: &str = "2.0";

impl DomainEvent for ReviewEvent {
    fn event_type(&self) -> String {
        match self {
            Self::Bought { .. } => "Bought",
            Self::Written(_) => "Written",
            Self::Edited { .. } => "Edited",
            Self::Withdrawn { .. } => "Withdrawn",
            Self::Answered { .. } => "Answered",
        }
        .to_owned()
    }
    fn event_version(&self) -> String {
        if matches!(self, Self::Written(_)) { TITLED } else { "1.0" }.to_owned()
    }
}

/// Why not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReviewError {
    /// There was no purchase.
    #[error("who reviews a product has bought it")]
    NotBought,
    /// Once is enough.
    #[error("it is reviewed already: edit the review to change it")]
    Reviewed,
    /// There is no review to edit or answer.
    #[error("no such review")]
    Unknown,
    /// It is there no longer.
    #[error("the review was taken back")]
    Withdrawn,
    /// No such number of stars.
    #[error("a review gives 1 to {STARS_MAX} stars")]
    Stars,
    /// Too long, or nothing that can be read.
    #[error(
        "a title is at most {TITLE_BYTES_MAX} bytes, a text and an answer at most {TEXT_BYTES_MAX}, an answer is not empty, and none has control characters but line breaks"
    )]
    Text,
    /// Not by this account.
    #[error("this account is not the {0} whose it is")]
    NotYours(&'static str),
}

/// What a review is decided with: what whoever acts may do with it.
#[derive(Clone, Copy, Debug)]
pub struct Rights {
    /// it is theirs
    pub writes: bool,
    /// they sell the product
    pub answers: bool,
}

impl Rights {
    /// Where nobody asks who acts.
    pub const ALL: Self = Self { writes: true, answers: true };
}

fn legible(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && !text.chars().any(|sign| sign.is_control() && sign != '\n')
}

impl Opinion {
    fn checked(self) -> Result<Self, ReviewError> {
        if !(1..=STARS_MAX).contains(&self.stars) {
            return Err(ReviewError::Stars);
        }
        if legible(&self.title, TITLE_BYTES_MAX) && legible(&self.text, TEXT_BYTES_MAX) { Ok(self) } else { Err(ReviewError::Text) }
    }
}

impl Review {
    /// What it says, if it stands.
    pub fn opinion(&self) -> Option<&Opinion> {
        if let Stage::Written(opinion) = &self.stage { Some(opinion) } else { None }
    }

    fn standing(&self) -> Result<&Opinion, ReviewError> {
        match &self.stage {
            Stage::Written(opinion) => Ok(opinion),
            Stage::Awaited => Err(ReviewError::Unknown),
            Stage::Withdrawn => Err(ReviewError::Withdrawn),
        }
    }

    fn decide(&self, command: ReviewCommand, rights: Rights) -> Result<Option<ReviewEvent>, ReviewError> {
        let by = |right: bool, whose: &'static str| if right { Ok(()) } else { Err(ReviewError::NotYours(whose)) };
        match &command {
            ReviewCommand::Write(_) | ReviewCommand::Edit(_) | ReviewCommand::Withdraw => by(rights.writes, "customer")?,
            ReviewCommand::Answer { .. } => by(rights.answers, "seller")?,
            ReviewCommand::RecordPurchase { .. } => {}
        }
        Ok(match command {
            ReviewCommand::RecordPurchase { .. } if self.bought => None,
            ReviewCommand::RecordPurchase { order } => Some(ReviewEvent::Bought { order }),
            ReviewCommand::Write(_) if !self.bought => return Err(ReviewError::NotBought),
            ReviewCommand::Write(_) if self.stage != Stage::Awaited => return Err(ReviewError::Reviewed),
            ReviewCommand::Write(opinion) => Some(ReviewEvent::Written(opinion.checked()?)),
            ReviewCommand::Edit(opinion) => {
                let (before, opinion) = (self.standing()?, opinion.checked()?);
                if *before == opinion { None } else { Some(ReviewEvent::Edited { before: before.stars, opinion }) }
            }
            ReviewCommand::Withdraw if self.stage == Stage::Withdrawn => None,
            ReviewCommand::Withdraw => Some(ReviewEvent::Withdrawn { before: self.standing()?.stars }),
            ReviewCommand::Answer { text } => {
                self.standing()?;
                if text.is_empty() || !legible(&text, TEXT_BYTES_MAX) {
                    return Err(ReviewError::Text);
                }
                (self.answer.as_ref() != Some(&text)).then_some(ReviewEvent::Answered { text })
            }
        })
    }
}

impl Aggregate for Review {
    const TYPE: &'static str = "review";
    type Command = ReviewCommand;
    type Event = ReviewEvent;
    type Error = ReviewError;
    type Services = Rights;

    async fn handle(&mut self, command: ReviewCommand, rights: &Rights, sink: &EventSink<Self>) -> Result<(), ReviewError> {
        if let Some(event) = self.decide(command, *rights)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: ReviewEvent) {
        match event {
            ReviewEvent::Bought { .. } => self.bought = true,
            ReviewEvent::Written(opinion) | ReviewEvent::Edited { opinion, .. } => self.stage = Stage::Written(opinion),
            ReviewEvent::Withdrawn { .. } => *self = Self { bought: self.bought, stage: Stage::Withdrawn, answer: None },
            ReviewEvent::Answered { text } => self.answer = Some(text),
        }
    }
}

/// From reviews of 1.0, which have no title.
pub fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
    let titled = |mut payload: serde_json::Value| {
        if let Some(written) = payload.get_mut("Written").and_then(serde_json::Value::as_object_mut) {
            written.insert("title".to_owned(), json!(""));
        }
        payload
    };
    vec![Box::new(SemanticVersionEventUpcaster::new("Written", TITLED, Box::new(titled)))]
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::{AggregateTestExecutor, TestFramework};

    use super::*;

    fn given(events: Vec<ReviewEvent>) -> AggregateTestExecutor<Review> {
        by(Rights::ALL, events)
    }

    fn by(rights: Rights, events: Vec<ReviewEvent>) -> AggregateTestExecutor<Review> {
        TestFramework::<Review>::with(rights).given(events)
    }

    fn bought() -> ReviewEvent {
        ReviewEvent::Bought { order: "17-1".into() }
    }

    fn opinion(stars: u8) -> Opinion {
        Opinion { stars, title: "Bright".into(), text: "It shines.".into() }
    }

    fn written(stars: u8) -> ReviewEvent {
        ReviewEvent::Written(opinion(stars))
    }

    fn answer(text: &str) -> ReviewCommand {
        ReviewCommand::Answer { text: text.into() }
    }

    #[test]
    fn who_bought_may_review_once() {
        given(vec![]).when(ReviewCommand::Write(opinion(4))).then_expect_error(ReviewError::NotBought);
        given(vec![bought()]).when(ReviewCommand::Write(opinion(4))).then_expect_events(vec![written(4)]);
        given(vec![bought(), written(4)]).when(ReviewCommand::Write(opinion(4))).then_expect_error(ReviewError::Reviewed);
        given(vec![bought(), written(4), ReviewEvent::Withdrawn { before: 4 }]).when(ReviewCommand::Write(opinion(4))).then_expect_error(ReviewError::Reviewed);
        let again = ReviewCommand::RecordPurchase { order: "17-2".into() };
        given(vec![bought()]).when(again).then_expect_events(vec![]);
    }

    #[test]
    fn it_is_edited_and_taken_back() {
        given(vec![bought()]).when(ReviewCommand::Edit(opinion(1))).then_expect_error(ReviewError::Unknown);
        let edited = ReviewEvent::Edited { before: 4, opinion: opinion(1) };
        given(vec![bought(), written(4)]).when(ReviewCommand::Edit(opinion(1))).then_expect_events(vec![edited.clone()]);
        given(vec![bought(), written(4)]).when(ReviewCommand::Edit(opinion(4))).then_expect_events(vec![]);
        let withdrawn = ReviewEvent::Withdrawn { before: 1 };
        given(vec![bought(), written(4), edited]).when(ReviewCommand::Withdraw).then_expect_events(vec![withdrawn.clone()]);
        let gone = || given(vec![bought(), written(1), withdrawn.clone()]);
        gone().when(ReviewCommand::Withdraw).then_expect_events(vec![]);
        gone().when(ReviewCommand::Edit(opinion(4))).then_expect_error(ReviewError::Withdrawn);
        gone().when(answer("Thanks")).then_expect_error(ReviewError::Withdrawn);
    }

    #[test]
    fn its_seller_answers() {
        let answered = |text: &str| ReviewEvent::Answered { text: text.into() };
        given(vec![bought()]).when(answer("Thanks")).then_expect_error(ReviewError::Unknown);
        given(vec![bought(), written(4)]).when(answer("Thanks")).then_expect_events(vec![answered("Thanks")]);
        given(vec![bought(), written(4), answered("Thanks")]).when(answer("Thanks")).then_expect_events(vec![]);
        given(vec![bought(), written(4), answered("Thanks")]).when(answer("Sorry")).then_expect_events(vec![answered("Sorry")]);
        given(vec![bought(), written(4)]).when(answer("")).then_expect_error(ReviewError::Text);
    }

    #[test]
    fn everybody_does_their_own() {
        let (customer, seller) = (Rights { writes: true, answers: false }, Rights { writes: false, answers: true });
        by(customer, vec![bought(), written(4)]).when(answer("Thanks")).then_expect_error(ReviewError::NotYours("seller"));
        for command in [ReviewCommand::Write(opinion(5)), ReviewCommand::Edit(opinion(5)), ReviewCommand::Withdraw] {
            by(seller, vec![bought(), written(4)]).when(command).then_expect_error(ReviewError::NotYours("customer"));
        }
    }

    #[test]
    fn stars_and_texts_have_bounds() {
        for stars in [0, 6] {
            given(vec![bought()]).when(ReviewCommand::Write(opinion(stars))).then_expect_error(ReviewError::Stars);
        }
        for text in ["a\u{0}b".to_owned(), "a\tb".to_owned(), "x".repeat(TEXT_BYTES_MAX + 1)] {
            given(vec![bought()]).when(ReviewCommand::Write(Opinion { text, ..opinion(3) })).then_expect_error(ReviewError::Text);
        }
        let lines = Opinion { text: "One.\nTwo.".into(), title: String::new(), stars: 3 };
        given(vec![bought()]).when(ReviewCommand::Write(lines.clone())).then_expect_events(vec![ReviewEvent::Written(lines)]);
        given(vec![bought(), written(1)]).when(ReviewCommand::Edit(Opinion { title: "x".repeat(201), ..opinion(3) })).then_expect_error(ReviewError::Text);
    }
}
