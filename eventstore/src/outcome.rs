//! How clients' commands end, and the markers that say so in the events where no event does.

use schemas::codec;
use schemas::envelope::{Kind, Malformed};
use schemas::wire::{AcceptedV1, RefusedV1, marker};
use serde::{Deserialize, Serialize};

/// How a client's command was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// The aggregate's version after it.
    Accepted {
        /// from 1; 0 where it has no event
        version: u64,
    },
    /// A business no.
    Refused {
        /// its stable name
        code: String,
        /// for people
        detail: String,
    },
}

impl Outcome {
    /// Name and body of the marker that stands for it where no event does.
    pub fn marker(&self) -> (&'static str, Vec<u8>) {
        match self {
            Self::Accepted { version } => (marker::ACCEPTED, codec::to_json(&AcceptedV1 { version: *version })),
            Self::Refused { code, detail } => (marker::REFUSED, codec::to_json(&RefusedV1 { code: code.clone(), detail: detail.clone() })),
        }
    }

    /// The outcome that a marker stands for; none if the record is none.
    pub fn of_marker(kind: &Kind, body: &[u8]) -> Result<Option<Self>, Malformed> {
        let known = |newest: u16| if kind.version <= newest { Ok(()) } else { Err(Malformed::FromTheFuture(kind.to_string())) };
        Ok(match kind.name.as_ref() {
            marker::ACCEPTED => {
                known(1)?;
                let AcceptedV1 { version } = codec::from_json(kind, body)?;
                Some(Self::Accepted { version })
            }
            marker::REFUSED => {
                known(1)?;
                let RefusedV1 { code, detail } = codec::from_json(kind, body)?;
                Some(Self::Refused { code, detail })
            }
            _ => None,
        })
    }
}
