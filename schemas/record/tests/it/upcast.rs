//! A shape that moved on: an aggregate whose one event is at version 2, and whose old records are read for ever.

use std::path::Path;

use kernel::{Aggregate, Context};
use schemas::Codec;
use schemas::envelope::{Kind, Malformed};
use schemas::golden::check;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bell;

#[derive(Clone, Debug, PartialEq)]
enum Command {
    Ring,
}

#[derive(Clone, Debug, PartialEq)]
enum Event {
    Rung { times: u32, by: String },
}

impl Aggregate for Bell {
    const NAME: &'static str = "bell";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &["thirteen", "never"];
    type Id = String;
    type Command = Command;
    type Event = Event;
    type Refusal = String;
    fn decide(&self, Command::Ring: Command, _: &Context<'_>) -> Result<Vec<Event>, String> {
        Ok(vec![])
    }
    fn evolve(&mut self, _: &Event) {}
    fn refusal_code(_: &String) -> &'static str {
        "never"
    }
}

mod wire {
    use super::{Bell, Command, Event};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    /// As it was released first.
    #[derive(Serialize, Deserialize, JsonSchema)]
    pub struct RungV1 {
        pub times: u32,
    }

    impl From<RungV1> for RungV2 {
        fn from(RungV1 { times }: RungV1) -> Self {
            Self { times, by: "nobody in particular".into() }
        }
    }

    schemas::codec! { Bell;
        events { Rung { times: u32, by: String } as RungV2 = "rung" 2 from { 1: RungV1 }; }
        commands { Ring = "ring" 3; }
    }
}

fn rung() -> Event {
    Event::Rung { times: 3, by: "Quasimodo".into() }
}

fn held(dir: &Path) -> Result<(), String> {
    check::<Bell, _>(dir, &[rung()], &[Command::Ring])
}

#[test]
fn older_bodies_are_upcast_and_newer_ones_refused() {
    let decode = |version, body: &str| Bell::decode_event(&Kind::of("bell", "rung", version), body.as_bytes());
    assert_eq!(decode(2, r#"{"times":3,"by":"Quasimodo"}"#), Ok(rung()));
    assert_eq!(decode(1, r#"{"times":3}"#), Ok(Event::Rung { times: 3, by: "nobody in particular".into() }));
    assert!(matches!(decode(2, r#"{"times":3}"#), Err(Malformed::Body { .. })), "version 2 is not read as version 1");
    assert!(matches!(decode(3, "{}"), Err(Malformed::FromTheFuture(_))));
    let ring = |version| Bell::decode_command(&Kind::of("bell", "ring", version), b"{}");
    assert!(matches!(ring(1), Err(Malformed::UnknownKind(_))), "a version without an upcast is unknown, not new");
    assert_eq!((ring(3), Bell::encode_event(&rung()).0.version), (Ok(Command::Ring), 2));
    let kinds: Vec<String> = Bell::shapes().iter().map(|shape| shape.kind.to_string()).collect();
    assert_eq!(kinds, ["dev.daybook.bell.rung.v2", "dev.daybook.bell.rung.v1", "dev.daybook.bell.ring.v3"]);
}

/// A folder of golden records that are as they should be.
fn records() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (group, name, body) in
        [("events", "bell.rung.v1", r#"{"times":1}"#), ("events", "bell.rung.v2", r#"{"times":3,"by":"Quasimodo"}"#), ("commands", "bell.ring.v3", "{}")]
    {
        std::fs::create_dir_all(dir.path().join(group)).unwrap();
        std::fs::write(dir.path().join(group).join(format!("{name}.json")), body).unwrap();
    }
    dir
}

/// Seeded bugs: each is what somebody might do to a released shape, and each is told.
#[test]
fn the_golden_check_catches_what_breaks_old_records() {
    let dir = records();
    assert_eq!(held(dir.path()), Ok(()));
    let broken: [(&str, &str, Option<&str>, &str); 5] = [
        ("events", "bell.rung.v1", None, "kept for ever"),
        ("events", "bell.rung.v1", Some(r#"{"count":1}"#), "read for ever"),
        ("events", "bell.rung.v2", Some(r#"{"by":"Quasimodo","times":3}"#), "add a version"),
        ("events", "bell.swung.v1", Some("{}"), "lost its kind"),
        ("commands", "bell.ring.v2", Some("{}"), "lost its kind"),
    ];
    for (group, name, body, told) in broken {
        let dir = records();
        let file = dir.path().join(group).join(format!("{name}.json"));
        match body {
            Some(body) => std::fs::write(&file, body).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let why = held(dir.path()).unwrap_err();
        assert!(why.contains(told) && why.contains(name), "{why}");
    }
    let dir = records();
    let unsampled = check::<Bell, _>(dir.path(), &[], &[Command::Ring]).unwrap_err();
    assert!(unsampled.contains("has no sample"), "{unsampled}");
}
