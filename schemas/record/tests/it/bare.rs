//! The macros in a crate that has them under other names, and has neither serde nor schemars.

use std::path::{Path, PathBuf};
use std::process::Command;

const MANIFEST: &str = r#"
[package]
name = "bare"
version = "0.1.0"
edition = "2024"

[workspace]

[dependencies]
core_of = { package = "daybook-kernel", path = "KERNEL" }
wire = { package = "daybook-schemas", path = "SCHEMAS" }
"#;

const SOURCE: &str = r##"
//! One aggregate, its shapes, and what it knows of another's.
use core_of::{Aggregate, Context, Number};
use wire::Codec;

#[derive(Clone, Debug, Default, PartialEq, wire::serde::Serialize, wire::serde::Deserialize)]
#[serde(crate = "wire::serde")]
pub struct Bell(u32);
#[derive(Clone, Debug, PartialEq)]
pub enum Tone { High, Low }
#[derive(Clone, Debug, PartialEq)]
pub struct Chime { pub tone: Tone }
#[derive(Clone, Debug, PartialEq)]
pub enum Command { Ring { times: u32 } }
#[derive(Clone, Debug, PartialEq)]
pub enum Event { Rung { times: u32 }, Chimed(Chime) }

impl Aggregate for Bell {
    const NAME: &'static str = "bell";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &[];
    type Id = Number;
    type Command = Command;
    type Event = Event;
    type Refusal = String;
    fn decide(&self, _: Command, _: &Context<'_>) -> Result<Vec<Event>, String> { Ok(vec![]) }
    fn evolve(&mut self, _: &Event) {}
    fn refusal_code(_: &String) -> &'static str { "never" }
}

mod shapes {
    use crate::{Bell, Chime, Command, Event, Tone};
    wire::cases! { /// How it sounds.
        ToneV1 of Tone { High, Low } }
    wire::shape! { /// A chime.
        ChimeV1 of Chime { tone: ToneV1 } }
    wire::codec! { Bell;
        events { Rung { times: u32 } as RungV1 = "rung" 1; Chimed(chime: ChimeV1) = "chimed" 1; }
        commands { Ring { times: u32 } as RingV1 = "ring" 1; }
    }
}

wire::source! { /// Another's.
    Clocks: ClockEvent = "clock" { Struck { hour: u32 } as StruckSeen = "struck" 1; Stopped = "stopped" 1; } }

fn main() {
    let (kind, body) = Bell::encode_event(&Event::Chimed(Chime { tone: Tone::Low }));
    assert_eq!(body, br#"{"tone":"low"}"#);
    assert_eq!(Bell::decode_event(&kind, &body), Ok(Event::Chimed(Chime { tone: Tone::Low })));
    let read = |name, version, body: &str| <Clocks as wire::Readable>::read(&wire::envelope::Kind::of("clock", name, version), body.as_bytes());
    assert_eq!(read("struck", 1, r#"{"hour":3,"minute":7}"#), Ok(Some(ClockEvent::Struck(StruckSeen { hour: 3 }))), "unknown fields are passed over");
    assert_eq!(read("wound", 1, "{}"), Ok(None), "so are kinds that are not named");
    assert!(matches!(read("struck", 2, "{}"), Err(wire::envelope::Malformed::FromTheFuture(_))), "a newer version of one that is stops");
    assert!(read("struck", 1, "{}").is_err());
    println!("{} shapes", Bell::shapes().len());
}
"##;

#[test]
fn the_macros_need_nothing_of_their_callers_names() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = |path: PathBuf| path.display().to_string();
    let manifest = MANIFEST.replace("KERNEL", &folder(root.join("domain/kernel"))).replace("SCHEMAS", &folder(here.to_path_buf()));
    std::fs::create_dir(dir.path().join("src")).unwrap();
    std::fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::write(dir.path().join("src/main.rs"), SOURCE).unwrap();
    std::fs::copy(root.join("Cargo.lock"), dir.path().join("Cargo.lock")).unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("bare");
    let done = Command::new(env!("CARGO")).args(["run", "--quiet", "--offline"]).current_dir(dir.path()).env("CARGO_TARGET_DIR", target).output().unwrap();
    let said = [done.stdout.as_slice(), &done.stderr].map(String::from_utf8_lossy).concat();
    assert!(done.status.success() && said.contains("3 shapes"), "{said}");
}
