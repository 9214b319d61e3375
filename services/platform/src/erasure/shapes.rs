//! Erasures on the wire: frozen shapes, held to golden records.

use kernel::Timestamp;
use schemas::wire::{Instant, List, text};

use super::{Command, DestroyedKey, Erasure, Event, Found, Looked, Report};

schemas::shape! {
    /// A key that was destroyed.
    DestroyedKeyV1 of DestroyedKey {
        key: String,
        #[serde(with = "text")]
        #[schemars(with = "Instant")]
        at: Timestamp,
    }
}

schemas::shape! {
    /// A place that was looked through.
    LookedV1 of Looked {
        place: String,
        looked_at: u64,
        sealed: u64,
    }
}

schemas::shape! {
    /// Something that is still readable.
    FoundV1 of Found {
        place: String,
        at: String,
        field: String,
    }
}

schemas::shape! {
    /// What is left of somebody's data.
    ReportV1 of Report {
        values: u64,
        looked: List<LookedV1>,
        found: List<FoundV1>,
        found_in_all: u64,
    }
}

schemas::codec! { Erasure;
    events {
        Requested { number: u64, reason: String } as RequestedV1 = "requested" 1;
        Destroyed { number: u64, keys: List<DestroyedKeyV1> } as DestroyedV1 = "destroyed" 1;
        Completed { number: u64, report: ReportV1 } as CompletedV1 = "completed" 1;
    }
    commands {
        Request { reason: String } as RequestV1 = "request" 1;
        RecordDestroyed { number: u64, keys: List<DestroyedKeyV1> } as RecordDestroyedV1 = "record-destroyed" 1;
        Complete { number: u64, report: ReportV1 } as CompleteV1 = "complete" 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn golden_records_hold() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
        let keys = vec![DestroyedKey { key: "AAECAwQFBgcICQoLDA0ODw".into(), at: Timestamp(1_796_083_200_000_000) }];
        let (place, reason) = ("customer.events".to_owned(), "asked by letter".to_owned());
        let report = Report {
            values: 10,
            looked: vec![Looked { place: place.clone(), looked_at: 3, sealed: 2 }],
            found: vec![Found { place, at: "5/17".into(), field: "/details/personal/email".into() }],
            found_in_all: 1,
        };
        schemas::golden::check::<Erasure, _>(
            &dir,
            &[
                Event::Requested { number: 1, reason: reason.clone() },
                Event::Destroyed { number: 1, keys: keys.clone() },
                Event::Completed { number: 1, report: report.clone() },
            ],
            &[Command::Request { reason }, Command::RecordDestroyed { number: 1, keys }, Command::Complete { number: 1, report }],
        )
        .unwrap();
    }
}
