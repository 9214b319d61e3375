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
            KafkaError::Transaction(inner) => Self {
                code: inner.code(),
                fatal: inner.is_fatal(),
                retriable: inner.is_retriable(),
                abort: inner.txn_requires_abort(),
                text: inner.string(),
            },
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

/// What to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The same call once more, within its time.
    Again,
    /// The claim is gone: end the transaction, throw the batch away, wait to be assigned something.
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
        Code::IllegalGeneration | Code::UnknownMemberId | Code::FencedInstanceId | Code::RebalanceInProgress | Code::AssignmentLost | Code::StaleMemberEpoch | Code::FencedMemberEpoch => {
            Next::Lost
        }
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::UnsupportedVersion
        | Code::UnsupportedForMessageFormat
        | Code::InvalidTransactionTimeout
        | Code::InvalidConfig
        | Code::OffsetOutOfRange
        | Code::AutoOffsetReset
        | Code::LogTruncation => Next::Stop,
        _ if trouble.fatal => Next::Rewind,
        _ if trouble.abort => Next::Rewind,
        _ if trouble.retriable => Next::Again,
        _ => Next::Rewind, // librdkafka: an error without a mark is final for its transaction
    }
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
            | Code::ThrottlingQuotaExceeded
    )
}

/// The fault that a call outside any transaction ends in; `what` says what was tried.
pub fn fault(what: &str, error: impl Into<Trouble>) -> Fault {
    let trouble: Trouble = error.into();
    let text = format!("{what}: {trouble}");
    match next(&trouble) {
        Next::Again => Fault::Retry(text),
        Next::Stop => Fault::Fatal(text),
        Next::Lost | Next::Rewind | Next::Rejoin => Fault::Abort(text),
    }
}
