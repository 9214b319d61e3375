//! The one place where Kafka's errors become decisions. Anything it does not know ends the transaction and the producer.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::log::Fault;

/// An error of librdkafka, with what it says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// which
    pub code: Code,
    /// the client is finished
    pub fatal: bool,
    /// the same call may succeed
    pub retriable: bool,
    /// the transaction must be aborted
    pub abort: bool,
    /// for people
    pub text: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({:?})", self.text, self.code)
    }
}

impl From<KafkaError> for Trouble {
    fn from(error: KafkaError) -> Self {
        match &error {
            KafkaError::Transaction(inner) => {
                Self { code: inner.code(), fatal: inner.is_fatal(), retriable: inner.is_retriable(), abort: inner.txn_requires_abort(), text: inner.string() }
            }
            other => Self {
                code: other.rdkafka_error_code().unwrap_or(Code::Unknown),
                fatal: matches!(other, KafkaError::MessageConsumptionFatal(_)),
                retriable: other.rdkafka_error_code().is_some_and(passes),
                abort: false,
                text: other.to_string(),
            },
        }
    }
}

impl From<Code> for Trouble {
    fn from(code: Code) -> Self {
        Self { code, fatal: false, retriable: passes(code), abort: false, text: code.to_string() }
    }
}

/// What to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The same call once more, within its time.
    Again,
    /// The assignment is gone: end the transaction, throw the batch away, wait to be assigned something.
    Lost,
    /// End the transaction, with it the producer, and read again from what is committed.
    Rewind,
    /// An heir has taken over, or the broker has forgotten the producer: drop producers and consumer, join again, and
    /// read committed positions anew (a producer mended in place could work on positions another instance finished).
    Rejoin,
    /// Nothing here can mend it: stop, and say why.
    Stop,
}

/// The decision.
pub fn next(trouble: &Trouble) -> Next {
    match trouble.code {
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::InvalidProducerIdMapping | Code::UnknownProducerId => Next::Rejoin,
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::FencedInstanceId
        | Code::RebalanceInProgress
        | Code::AssignmentLost
        | Code::StaleMemberEpoch
        | Code::FencedMemberEpoch => Next::Lost,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::UnsupportedVersion
        | Code::UnsupportedForMessageFormat
        | Code::InvalidTransactionTimeout
        | Code::InvalidConfig
        | Code::OffsetOutOfRange
        | Code::AutoOffsetReset
        | Code::LogTruncation => Next::Stop,
        // Whether a password may be another in a moment is for those to say who know where it comes from.
        code if is_stranger(code) => Next::Rewind,
        _ if trouble.fatal => Next::Rewind,
        _ if trouble.abort => Next::Rewind,
        _ if trouble.retriable => Next::Again,
        _ => Next::Rewind, // librdkafka: an error without a mark is final for its transaction
    }
}

/// Whether an error says that this user's name or password is wrong.
pub fn is_stranger(code: Code) -> bool {
    matches!(code, Code::Authentication | Code::SaslAuthenticationFailed)
}

/// Whether an error says that this user may not do what was asked.
pub fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::TransactionalIdAuthorizationFailed | Code::ClusterAuthorizationFailed
    )
}

/// Errors that pass by themselves, of calls outside transactions, which do not say so.
fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::TimedOutQueue
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::WaitingForCoordinator
            | Code::Retry
            | Code::InProgress
            | Code::QueueFull
            | Code::NotCoordinator
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::ConcurrentTransactions
            | Code::UnstableOffsetCommit
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::PreferredLeaderNotAvailable
            | Code::KafkaStorageError
            | Code::NotController
            | Code::UnknownTopicOrPartition
            // What is asked for was seen on the cluster: the client has not heard of a new leader yet.
            | Code::UnknownPartition
            | Code::UnknownTopic
            | Code::ThrottlingQuotaExceeded
    )
}

/// The fault that a call outside any transaction ends in; `what` says what was tried.
pub fn fault(what: &str, error: impl Into<Trouble>) -> Fault {
    let trouble: Trouble = error.into();
    let text = format!("{what}: {trouble}");
    match next(&trouble) {
        Next::Again => Fault::Retry(text),
        _ if is_stranger(trouble.code) => Fault::Retry(text),
        Next::Stop => Fault::Fatal(text),
        Next::Lost | Next::Rewind | Next::Rejoin => Fault::Abort(text),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::log::kafka::ffi::every_code;

    fn decided(code: Code, [fatal, retriable, abort]: [bool; 3]) -> Next {
        next(&Trouble { code, fatal, retriable, abort, text: String::new() })
    }

    /// Every error librdkafka has, with every mark it can carry, by what its name says.
    #[test]
    fn every_error_has_its_decision() {
        let every = every_code();
        assert!(every.len() > 150, "librdkafka names {} errors", every.len());
        let names = |name: &str, parts: &[&str]| parts.iter().any(|part| name.contains(part));
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for (code, name) in &every {
            for marks in (0..8).map(|bits| [bits & 1 > 0, bits & 2 > 0, bits & 4 > 0]) {
                let [fatal, retriable, abort] = marks;
                let found = decided(*code, marks);
                let what = format!("{name} {marks:?}: {found:?}");
                if names(name, &["_PRODUCER_EPOCH", "PRODUCER_FENCED", "PRODUCER_ID"]) || name == "_FENCED" {
                    assert_eq!(found, Next::Rejoin, "{what}");
                } else if names(name, &["AUTHORIZATION_FAILED"]) {
                    // Delegation tokens have a name like it, and are nothing that we use.
                    assert!(found == Next::Stop || name.contains("DELEGATION"), "{what}");
                } else if names(name, &["AUTHENTICATION"]) {
                    assert_eq!(found, Next::Rewind, "{what}");
                } else if names(name, &["GENERATION", "MEMBER_ID", "FENCED_INSTANCE", "REBALANCE_IN_PROGRESS", "ASSIGNMENT_LOST"]) && !name.contains("REQUIRED")
                {
                    assert_eq!(found, Next::Lost, "{what}");
                } else if matches!(found, Next::Again) {
                    assert!(retriable && !fatal && !abort, "{what}: repeated although it cannot help");
                } else if !matches!(found, Next::Stop | Next::Lost) {
                    assert_eq!(found, Next::Rewind, "{what}");
                    assert!(fatal || abort || !retriable, "{what}: thrown away although the same call might do");
                }
                *counts.entry(format!("{found:?}")).or_default() += 1;
            }
        }
        println!("{} errors of librdkafka, each with 8 sets of marks: {counts:?}", every.len());
    }

    #[test]
    fn what_would_lose_history_stops() {
        for code in [Code::OffsetOutOfRange, Code::AutoOffsetReset, Code::LogTruncation, Code::UnsupportedVersion] {
            assert!(
                matches!(fault("reading", Trouble { code, fatal: false, retriable: true, abort: false, text: String::new() }), Fault::Fatal(_)),
                "{code:?}"
            );
        }
    }
}
