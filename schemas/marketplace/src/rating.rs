//! Ratings on the wire.

use domain::rating::{Command, Event, Rating};

schemas::codec! { Rating in crate::Marketplace;
    events {
        Rated { reviews: u64, stars: u64 } as RatedV1 = "rated" 1;
    }
    commands {
        Count { before: Option<u8>, after: Option<u8> } as CountV1 = "count" 1;
    }
}
