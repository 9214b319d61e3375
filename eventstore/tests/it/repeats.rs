//! Which commands are the same, and whose they are: clients' and those made inside, on each side of an upgrade.

use std::sync::Arc;
use std::time::Duration;

use eventstore::Message;
use eventstore::fingerprint::REQUEST;

use eventstore::inside::{AGAIN, AGAIN_INSIDE, INSIDE, sign};
use eventstore::router::Router;
use eventstore::service::Service;
use eventstore::turn::UNSCOPED;
use kernel::{Aggregate, Context, Timestamp};
use schemas::envelope::Kind;
use schemas::wire::ReplyV1;
use schemas::{Codec, Envelope, Stream, topic};
use serde::{Deserialize, Serialize};

use crate::tally::{Across, Bench, REMEMBERED, TOO_LARGE, Tally, alone, settle};

/// The tally of a later version, which counts in its own way on the wire.
mod later {
    use super::*;

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct Later {
        pub count: u32,
        since: Option<Timestamp>,
    }
    #[derive(Clone, Debug, PartialEq)]
    pub enum Command {
        Count { amount: CountV2 },
    }
    #[derive(Clone, Debug, PartialEq)]
    pub enum Event {
        Counted { more: u32, at: i64 },
    }
    /// What was a number has a unit now.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
    pub struct CountV2 {
        pub number: u32,
        pub unit: String,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
    pub struct CountV1 {
        more: u32,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
    pub struct CountedBodyV2 {
        amount: CountV2,
    }
    impl From<CountV1> for CountedBodyV2 {
        fn from(old: CountV1) -> Self {
            Self { amount: CountV2 { number: old.more, unit: "piece".into() } }
        }
    }

    impl Aggregate for Later {
        const NAME: &'static str = "tally";
        const STATE_VERSION: u8 = 2;
        const REFUSALS: &'static [&'static str] = &["thirteen", "never"];
        type Id = String;
        type Command = Command;
        type Event = Event;
        type Refusal = String;
        fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, String> {
            let Command::Count { amount } = command;
            Ok(vec![Event::Counted { more: amount.number, at: context.now.0 }])
        }
        fn evolve(&mut self, event: &Event) {
            let Event::Counted { more, .. } = event;
            self.count += more;
        }
        fn refusal_code(_: &String) -> &'static str {
            "none"
        }
    }

    impl Codec for Later {
        fn encode_event(event: &Event) -> (Kind, Vec<u8>) {
            let Event::Counted { more, at } = event;
            (Kind::of("tally", "counted", 1), serde_json::to_vec(&serde_json::json!({ "more": more, "at": at })).unwrap())
        }
        fn decode_event(kind: &Kind, body: &[u8]) -> Result<Event, schemas::envelope::Malformed> {
            let body: serde_json::Value = schemas::codec::from_json(kind, body)?;
            Ok(Event::Counted { more: body["more"].as_u64().unwrap() as u32, at: body["at"].as_i64().unwrap() })
        }
        fn encode_command(command: &Command) -> (Kind, Vec<u8>) {
            let Command::Count { amount } = command;
            (Kind::of("tally", "count", 2), schemas::codec::to_json(&CountedBodyV2 { amount: amount.clone() }))
        }
        fn decode_command(kind: &Kind, body: &[u8]) -> Result<Command, schemas::envelope::Malformed> {
            let body = if kind.version == 1 {
                schemas::codec::from_json::<CountV1>(kind, body)?.into()
            } else {
                schemas::codec::from_json::<CountedBodyV2>(kind, body)?
            };
            Ok(Command::Count { amount: body.amount })
        }
        fn shapes() -> Vec<schemas::wire::Shape> {
            vec![]
        }
    }
}

/// The same data, run by the later version.
fn upgraded(mut bench: Bench) -> Bench {
    bench.service = Arc::new(Service::new("tally").owns::<later::Later, _>());
    let rows =
        eventstore::rows::Rows::open(&bench.dir.path().join("heads-later"), &eventstore::heads::shape(&bench.service), &eventstore::memory::Memory::default());
    bench.rows = Arc::new(rows.unwrap());
    bench
}

fn answers(bench: &Bench) -> Vec<String> {
    let replies = bench.all(&topic(Stream::Replies));
    replies.iter().map(|record| serde_json::from_slice::<ReplyV1>(record.body()).unwrap().outcome).collect()
}

/// A command of this version of the shape, perhaps made of a request.
fn counts(bench: &Bench, id: &str, version: u16, more: u32, request: Option<&str>) -> Message {
    let mut envelope = Envelope::new(id, "/test", Kind::of("tally", "count", version), "17");
    envelope.reply_to = Some("me@1".into());
    let body = if version == 1 { format!("{{\"more\":{more}}}") } else { format!("{{\"amount\":{{\"number\":{more},\"unit\":\"piece\"}}}}") };
    let mut message = Message { headers: envelope.headers(), value: Some(body.into_bytes()), ..bench.command(id, "17", more) };
    request.iter().for_each(|request| message.headers.push(REQUEST, request));
    message
}

#[test]
fn a_repeat_across_an_upgrade_of_its_shape_gets_the_first_answer() {
    let (one, other) = ("0".repeat(32), "1".repeat(32));
    let bench = Bench::of(alone(), 51);
    bench.send(counts(&bench, "kafka", 1, 2, None));
    bench.send(counts(&bench, "http", 1, 3, Some(&one)));
    settle(&mut bench.worker());
    let bench = upgraded(bench);
    let mut worker = bench.worker();
    // The same bytes; the same request in its new shape; other ones of both.
    bench.send(counts(&bench, "kafka", 1, 2, None));
    bench.send(counts(&bench, "http", 2, 3, Some(&one)));
    settle(&mut worker);
    bench.send(counts(&bench, "kafka", 1, 4, None));
    bench.send(counts(&bench, "http", 2, 5, Some(&other)));
    // Decided by this version, in one shape, and asked again in the other.
    settle(&mut worker);
    bench.send(counts(&bench, "new", 1, 1, None));
    bench.send(counts(&bench, "new", 2, 1, None));
    let mut spaced = counts(&bench, "new", 1, 1, None);
    spaced.value = Some(b"{ \"more\" : 1 }".to_vec());
    bench.send(spaced);
    settle(&mut worker);
    bench.send(counts(&bench, "new", 2, 2, None));
    settle(&mut worker);
    let (accepted, conflict) = ("accepted", "conflict");
    assert_eq!(answers(&bench), [accepted, accepted, accepted, accepted, conflict, conflict, accepted, accepted, accepted, conflict]);
    assert_eq!(bench.kinds(), ["counted"; 3]);
    bench.assert_equals_a_fold_from_zero();
}

/// What an event of the version before holds: one fingerprint.
#[test]
fn a_mark_of_the_version_before_is_matched_by_what_it_has() {
    let bench = Bench::of(alone(), 52);
    let old = |id: &str, subject: &str| {
        let command = bench.command(id, subject, 2);
        let mut own = bench.own_event(subject, 1, 2);
        let mut envelope = Envelope::read(&own.headers).unwrap();
        (envelope.causation, envelope.time) = (Some(id.to_owned()), Some(bench.log.now()));
        envelope.body_hash = Some(eventstore::fingerprint::sent(&Envelope::read(&command.headers).unwrap(), command.value.as_ref().unwrap()));
        own.headers = envelope.headers();
        own
    };
    let [one, two, three] = Bench::subjects();
    [old("k", one), old("k", two)].into_iter().for_each(|own| bench.send(own));
    let mut worker = bench.worker();
    // Under its old id, and under the one with a scope: the first answer. Another body: none. Another subject: another command.
    let scoped = |id: &str, subject: &str, more| {
        let mut message = bench.command(id, subject, more);
        message.headers.push(UNSCOPED, "k");
        message.headers.push("reply-to", "me@1");
        message
    };
    for message in [scoped("k", one, 2), scoped("k~1", one, 2), scoped("k~1", one, 3), scoped("k~2", three, 2), scoped("k~1", two, 2)] {
        bench.send(message);
        settle(&mut worker);
    }
    assert_eq!(answers(&bench), ["accepted", "accepted", "conflict", "accepted", "accepted"]);
    assert_eq!([one, two, three].map(|subject| bench.count(subject).1), [2, 2, 2]);
    let decided_as: Vec<Option<String>> =
        bench.all(&topic(Stream::Replies)).iter().map(|record| serde_json::from_slice::<ReplyV1>(record.body()).unwrap().decided_as).collect();
    assert_eq!(decided_as[1].as_deref(), Some("k"));
    bench.clock.by(REMEMBERED + 60);
    bench.send(scoped("k~1", two, 2));
    settle(&mut worker);
    assert_eq!(bench.count(two).0, 2, "after its time it is a new command");
    bench.assert_equals_a_fold_from_zero();
}

/// Headers alone make nobody an insider.
#[test]
fn a_client_that_names_a_cause_is_a_client() {
    let bench = Bench::of(alone(), 53);
    let forged = |id: &str, more, signature: Option<&str>| {
        let mut message = bench.command(id, "17", more);
        let mut envelope = Envelope::read(&message.headers).unwrap();
        (envelope.causation, envelope.correlation) = (Some("their-event".into()), Some("their-process".into()));
        envelope.reply_to = Some("me@1".into());
        message.headers = envelope.headers();
        signature.iter().for_each(|text| message.headers.push(INSIDE, text));
        message
    };
    let (none, wrong) = (None, Some("ab".repeat(32)));
    for (id, more, signature) in [("a", 2, &none), ("a", 2, &none), ("a", 3, &none), ("b", 13, &none), ("b", 13, &none), ("c", 2, &wrong), ("c", 2, &wrong)] {
        bench.send(forged(id, more, signature.as_deref()));
    }
    settle(&mut bench.worker());
    assert_eq!(answers(&bench), ["accepted", "accepted", "conflict", "refused", "refused", "accepted", "accepted"]);
    assert_eq!((bench.count("17"), bench.letters().len()), ((2, 4), 0));
    let counted = bench.all(&bench.service.events());
    let envelope = Envelope::read(&counted[0].headers).unwrap();
    let said = (envelope.causation.as_deref(), envelope.outside_cause.as_deref(), envelope.correlation.as_deref());
    assert_eq!(said, (Some("a"), Some("their-event"), Some("their-process")));
    bench.assert_equals_a_fold_from_zero();
}

/// The router's commands are signed, and arrive once. One of the version before, which signed nothing, is still done once.
#[test]
fn commands_made_inside_are_told_by_their_signature() {
    let bench = Bench::of(alone().follows_across::<Across, _>("other"), 54);
    bench.send(bench.event("e1", "17", 1, 13));
    bench.send(bench.event("e2", "17", 2, 5));
    let mut router = Router::join(Arc::clone(&bench.service), bench.log.as_ref(), "router", eventstore::Limits::default(), Arc::new(())).unwrap().unwrap();
    (0..5).for_each(|_| assert!(router.turn(Duration::ZERO).is_ok()));
    let mut worker = bench.worker();
    settle(&mut worker);
    // A refusal of what was made inside is a dead letter, and nothing of it is marked.
    assert_eq!((bench.count("all"), bench.kinds(), bench.letters().len()), ((1, 5), vec!["counted".to_owned()], 1));
    let event = Envelope::read(&bench.all(&bench.service.events())[0].headers).unwrap();
    assert!(event.body_hash.is_none() && event.fingerprints.is_none());
    // As the version before wrote them, twice: by a router that died between its commit and its word of it this cannot be,
    // but nobody is harmed.
    let mut old = bench.command("derived", "17", 7);
    let mut envelope = Envelope::read(&old.headers).unwrap();
    (envelope.causation, envelope.correlation) = (Some("e3".into()), Some("root".into()));
    old.headers = envelope.headers();
    bench.send(old.clone());
    bench.send(old);
    settle(&mut worker);
    assert_eq!(bench.count("17"), (1, 7));
    bench.assert_equals_a_fold_from_zero();
}

/// A command made inside that an operator writes once more, and once more.
#[test]
fn a_retry_has_its_effect_once() {
    let bench = Bench::of(alone(), 55);
    let mut worker = bench.worker();
    let again = |more: u32| {
        let mut message = bench.command("derived", "17", more);
        message.headers.push(AGAIN, AGAIN_INSIDE);
        let Message { key, value, headers, .. } = &mut message;
        sign(&bench.log.secret(), key, headers, value.as_ref().unwrap());
        message
    };
    // Refused, it is a dead letter again, however often; accepted, it is done.
    for (more, count, letters) in [(13, (0, 0), 1), (13, (0, 0), 2), (7, (1, 7), 2), (7, (1, 7), 2), (7, (1, 7), 2)] {
        bench.send(again(more));
        settle(&mut worker);
        assert_eq!((bench.count("17"), bench.letters().len()), (count, letters));
    }
    // For ever: nobody says when an operator looks at an old letter.
    bench.clock.by(2 * REMEMBERED);
    bench.send(bench.command("other", "17", 0));
    settle(&mut worker);
    bench.send(again(7));
    settle(&mut worker);
    assert_eq!(bench.count("17").0, 2, "counted, and emptied by its deadline");
    bench.assert_equals_a_fold_from_zero();
    // A header alone is not an operator's.
    let mut forged: Message = bench.command("forged", "17", 13);
    forged.headers.push(AGAIN, AGAIN_INSIDE);
    bench.send(forged);
    settle(&mut worker);
    assert_eq!(bench.letters().len(), 2);
}

/// A routed command that no record can hold does not stop its router.
#[test]
fn a_routed_command_over_the_limit_is_a_dead_letter() {
    let bench = Bench::of(alone().follows_across::<Across, _>("other"), 56);
    bench.send(bench.event("e1", "17", 1, TOO_LARGE));
    bench.send(bench.event("e2", "17", 2, 5));
    let mut router = Router::join(Arc::clone(&bench.service), bench.log.as_ref(), "router", eventstore::Limits::test_min(), Arc::new(())).unwrap().unwrap();
    (0..9).for_each(|_| assert!(router.turn(Duration::ZERO).is_ok()));
    settle(&mut bench.worker());
    assert_eq!(bench.count("all"), (1, 5));
    let letters = bench.letters();
    let [(reason, letter)] = &letters[..] else { panic!("{letters:?}") };
    let said = ["ce_id", "dlt-policy", "dlt-original-topic"].map(|name| letter.headers.text(name).unwrap());
    assert_eq!((reason.as_str(), said), ("too-large", ["e1", "across", "other.events"]));
    assert!(Tally::decode_event(&Kind::of("tally", "counted", 1), letter.body()).is_ok());
}
