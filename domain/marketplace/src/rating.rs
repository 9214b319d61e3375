//! What buyers make of a product, as far as its catalog shows it: how many reviewed it, and their stars. Counts what it is told.

pub mod sample;

use serde::{Deserialize, Serialize};

use kernel::{Aggregate, Context};

/// Most stars that a review gives; the fewest are 1.
pub const STARS_MAX: u8 = 5;

/// The rating of a product.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// reviews that stand
    pub reviews: u64,
    /// their stars, added up
    pub stars: u64,
}

/// What reviews ask of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A review gives other stars than before.
    Count {
        /// none of one that was not there
        before: Option<u8>,
        /// none of one that is there no longer
        after: Option<u8>,
    },
}

/// What can have happened to it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It stands so.
    Rated {
        /// reviews that stand
        reviews: u64,
        /// their stars, added up
        stars: u64,
    },
}

/// Why not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No review gives so many.
    #[error("a review gives 1 to {STARS_MAX} stars")]
    Stars,
    /// What is taken back was never counted: reviews never say that.
    #[error("of {reviews} reviews with {stars} stars none can be taken back that gave {before}")]
    NotCounted {
        /// reviews that stand
        reviews: u64,
        /// their stars
        stars: u64,
        /// what is taken back
        before: u8,
    },
}

impl Aggregate for Rating {
    const NAME: &'static str = "rating";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &["stars-out-of-range", "not-counted"];
    type Id = crate::ProductRef;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, Command::Count { before, after }: Command, _: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        if [before, after].into_iter().flatten().any(|stars| !(1..=STARS_MAX).contains(&stars)) {
            return Err(Refusal::Stars);
        }
        if before == after {
            return Ok(vec![]);
        }
        let less = |sum: u64, by: u64| sum.checked_sub(by).ok_or(Refusal::NotCounted { reviews: self.reviews, stars: self.stars, before: before.unwrap_or(0) });
        let (reviews, stars) = (less(self.reviews, u64::from(before.is_some()))?, less(self.stars, before.map_or(0, u64::from))?);
        Ok(vec![Event::Rated { reviews: reviews + u64::from(after.is_some()), stars: stars + after.map_or(0, u64::from) }])
    }

    fn evolve(&mut self, Event::Rated { reviews, stars }: &Event) {
        (self.reviews, self.stars) = (*reviews, *stars);
    }

    fn invariant(&self) -> Result<(), String> {
        let Self { reviews, stars } = *self;
        let possible = reviews..=reviews.saturating_mul(STARS_MAX.into());
        if possible.contains(&stars) { Ok(()) } else { Err(format!("{reviews} reviews give {stars} stars")) }
    }

    fn refusal_code(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Stars => "stars-out-of-range",
            Refusal::NotCounted { .. } => "not-counted",
        }
    }

    fn made_inside(_: &Command) -> bool {
        true
    }
}

impl Rating {
    /// The average of its reviews in hundredths of a star, rounded to the nearest; none where there are none.
    pub fn average(&self) -> Option<u64> {
        (self.stars * 100 + self.reviews / 2).checked_div(self.reviews)
    }
}

#[cfg(test)]
mod tests {
    use kernel::testing::given;

    use super::{Command, Event, Rating, sample};

    fn count(before: impl Into<Option<u8>>, after: impl Into<Option<u8>>) -> Command {
        Command::Count { before: before.into(), after: after.into() }
    }

    #[test]
    fn it_counts_what_reviews_say() {
        let of_two = || given::<Rating>("42-1", [sample::rated(2, 7)]);
        assert_eq!(given::<Rating>("42-1", []).when(count(None, 4)).events(), [sample::rated(1, 4)]);
        assert_eq!(of_two().when(count(None, 5)).events(), [sample::rated(3, 12)]);
        assert_eq!(of_two().when(count(3, 5)).events(), [sample::rated(2, 9)]);
        assert_eq!(of_two().when(count(3, None)).events(), [sample::rated(1, 4)]);
        assert_eq!(of_two().when(count(3, 3)).events(), []);
    }

    #[test]
    fn what_no_review_says_is_refused() {
        for stars in [0, 6] {
            given::<Rating>("42-1", []).when(count(None, stars)).refused("stars-out-of-range");
        }
        given::<Rating>("42-1", [sample::rated(1, 2)]).when(count(3, None)).refused("not-counted");
        given::<Rating>("42-1", []).when(count(1, 2)).refused("not-counted");
    }

    #[test]
    fn an_average_is_rounded_to_the_nearest() {
        let average = |reviews, stars| Rating { reviews, stars }.average();
        assert_eq!([average(0, 0), average(1, 5), average(3, 10), average(3, 11)], [None, Some(500), Some(333), Some(367)]);
        let Event::Rated { reviews, stars } = sample::rated(2, 7);
        assert_eq!(average(reviews, stars), Some(350));
    }
}
