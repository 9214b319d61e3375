//! Bytes of bodies and of saved rows. The only place that names bincode.
//! JSON for what lives for ever in the log; bincode for rows that can be folded again.

use kernel::{Aggregate, Source};
use serde::{Serialize, de::DeserializeOwned};

use crate::envelope::{Kind, Malformed};
use crate::wire::Shape;

/// An aggregate's wire shapes: for each type and version a frozen struct, upcast to the newest, then to the domain.
///
/// `W` says whose shapes they are: the aggregate itself, or a type of the crate that has the shapes of another crate's
/// aggregates (Rust lets nobody implement a foreign trait for a foreign type). It is inferred: `owns::<Cart, _>()`.
pub trait Codec<W = Self>: Aggregate {
    /// An event's kind and JSON body.
    fn encode_event(event: &Self::Event) -> (Kind, Vec<u8>);
    /// An event from the body of any version ever released.
    fn decode_event(kind: &Kind, body: &[u8]) -> Result<Self::Event, Malformed>;
    /// A command's kind and JSON body.
    fn encode_command(command: &Self::Command) -> (Kind, Vec<u8>);
    /// A command from the body of any version ever released.
    fn decode_command(kind: &Kind, body: &[u8]) -> Result<Self::Command, Malformed>;
    /// The shapes of its events and commands, older versions included.
    fn shapes() -> Vec<Shape>;
}

/// Events that can be read: those of an aggregate with a codec, and those that `source!` makes of another service's.
pub trait Readable<W = Self>: Source {
    /// An event from its body; none of a kind that this reader does not name.
    fn read(kind: &Kind, body: &[u8]) -> Result<Option<Self::Event>, Malformed>;
    /// The kinds that it names.
    fn kinds() -> Vec<Kind>;
}

impl<A: Codec<W>, W> Readable<W> for A {
    fn read(kind: &Kind, body: &[u8]) -> Result<Option<A::Event>, Malformed> {
        A::decode_event(kind, body).map(Some)
    }
    fn kinds() -> Vec<Kind> {
        A::shapes().into_iter().filter(|shape| shape.group == "events").map(|shape| shape.kind).collect()
    }
}

/// Writes a body.
pub fn to_json<T: Serialize>(body: &T) -> Vec<u8> {
    // Wire structs are plain data with string keys: only a shape that JSON cannot hold gets here, and its first golden
    // record finds it. An empty body in its place would be in the log for ever.
    serde_json::to_vec(body).unwrap_or_else(|why| panic!("{} is no wire shape: {why}", std::any::type_name::<T>()))
}

/// Reads a body, naming the place of what is wrong.
pub fn from_json<T: DeserializeOwned>(kind: &Kind, body: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(body).map_err(|why| Malformed::Body { kind: kind.to_string(), why: why.to_string() })
}

const SAVED: bincode::config::Configuration<bincode::config::LittleEndian, bincode::config::Varint, bincode::config::Limit<{ 64 * 1024 * 1024 }>> =
    bincode::config::standard().with_limit::<{ 64 * 1024 * 1024 }>();
/// First byte of every saved row: how the rest is encoded.
const FORMAT: u8 = 1;

/// A row's bytes: format, `shape` (the state's version), bincode.
pub fn save<T: Serialize>(shape: u8, row: &T) -> Result<Vec<u8>, String> {
    let mut bytes = vec![FORMAT, shape];
    bincode::serde::encode_into_std_write(row, &mut bytes, SAVED).map_err(|why| why.to_string())?;
    Ok(bytes)
}

/// A row back from its bytes; none if it was saved in another format or shape.
pub fn load<T: DeserializeOwned>(shape: u8, bytes: &[u8]) -> Result<Option<T>, String> {
    let Some(rest) = bytes.strip_prefix(&[FORMAT, shape]) else { return Ok(None) };
    let (row, read) = bincode::serde::decode_from_slice(rest, SAVED).map_err(|why| why.to_string())?;
    // bincode stops when the struct is full: bytes left over mean another struct wrote this.
    if read == rest.len() { Ok(Some(row)) } else { Err(format!("{} bytes left over", rest.len() - read)) }
}
