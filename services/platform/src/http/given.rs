//! From what a caller gives to what a route takes: names that are there, once each, of the right kind; and what is wrong
//! in the words of those who write requests, with a JSON Pointer to it.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::StringDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::Value;

use super::json::{Json, Object};

/// Names a value that may be text or a number, to the deserializer below.
pub const TEXT_OR_NUMBER: &str = "text or a number";
/// More names than this are not listed in an answer.
const NAMED_MAX: usize = 40;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// JSON Pointer
    pub pointer: String,
    /// what
    pub why: String,
}

impl Wrong {
    fn here(why: impl Into<String>) -> Self {
        Self { pointer: String::new(), why: why.into() }
    }

    /// This field is not there.
    pub fn missing(name: &str) -> Self {
        Self::here("is missing").below(name)
    }

    /// It is in this field.
    #[must_use]
    pub fn below(mut self, name: &str) -> Self {
        self.pointer = format!("/{}{}", name.replace('~', "~0").replace('/', "~1"), self.pointer);
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.strip_prefix('/') {
            Some(place) => write!(out, "'{place}' {}", self.why),
            None => out.write_str(&self.why),
        }
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::here(why.to_string())
    }
    fn missing_field(name: &'static str) -> Self {
        Self::missing(name)
    }
    fn unknown_variant(given: &str, known: &'static [&'static str]) -> Self {
        Self::here(if known.len() > NAMED_MAX { format!("is '{given}', which is not known") } else { format!("is '{given}', and must be {}", either(known)) })
    }
    fn invalid_length(count: usize, _: &dyn de::Expected) -> Self {
        Self::here(format!("has {count} items, which is not as many as belong there"))
    }
}

fn either(names: &[&str]) -> String {
    match names {
        [] => "left out".to_owned(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}

/// What a route takes from a body or a query.
pub trait Given: Sized {
    /// The names it knows.
    fn names() -> Vec<&'static str>;
    /// Itself, from an object whose names are all known.
    fn take(object: Object) -> Result<Self, Wrong>;
}

impl<T: DeserializeOwned> Given for T {
    fn names() -> Vec<&'static str> {
        let mut names: &'static [&'static str] = &[];
        let _only_asked = T::deserialize(Names(&mut names));
        names.to_vec()
    }
    fn take(object: Object) -> Result<Self, Wrong> {
        T::deserialize(Json::Object(object))
    }
}

/// Two things side by side in one object.
#[derive(Debug)]
pub struct Both<A, B>(pub A, pub B);

impl<A: Given, B: Given> Given for Both<A, B> {
    fn names() -> Vec<&'static str> {
        [A::names(), B::names()].concat()
    }
    fn take(object: Object) -> Result<Self, Wrong> {
        let first = A::names();
        let (one, other) = object.into_iter().partition(|(name, _)| first.contains(&name.as_str()));
        Ok(Self(A::take(one)?, B::take(other)?))
    }
}

/// The fields of both.
impl<A: JsonSchema, B: JsonSchema> JsonSchema for Both<A, B> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}And{}", A::schema_name(), B::schema_name()).into()
    }
    fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
        let mut both = A::json_schema(schemas);
        let other = B::json_schema(schemas);
        for part in ["properties", "required"] {
            match (both.get(part).cloned(), other.get(part).cloned()) {
                (Some(Value::Object(mut own)), Some(Value::Object(more))) => {
                    own.extend(more);
                    both.insert(part.to_owned(), own.into());
                }
                (Some(Value::Array(mut own)), Some(Value::Array(more))) => {
                    own.extend(more);
                    both.insert(part.to_owned(), own.into());
                }
                (None, Some(more)) => drop(both.insert(part.to_owned(), more)),
                _ => {}
            }
        }
        both
    }
}

/// What a route takes, from an object; `what` is a field or a parameter.
pub fn given<T: Given>(object: Object, what: &str) -> Result<T, Wrong> {
    let names = T::names();
    for (at, (name, _)) in object.iter().enumerate() {
        if !names.contains(&name.as_str()) {
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Wrong::here(format!("is no {what} of this route: it has {known}")).below(name));
        }
        if object.iter().take(at).any(|(before, _)| before == name) {
            return Err(Wrong::here("is given twice").below(name));
        }
    }
    T::take(object)
}

/// The same from a field's value.
pub fn inner<T: Given>(value: Json) -> Result<T, Wrong> {
    match value {
        Json::Object(object) => given(object, "field"),
        other => Err(other.other_than("an object")),
    }
}

/// A value that nobody here needs.
#[derive(Debug, Default)]
pub struct Unused;

impl JsonSchema for Unused {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Unused".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "passed over" })
    }
}

impl<'de> Deserialize<'de> for Unused {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// Hears which names a struct knows, and reads nothing.
struct Names<'n>(&'n mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Wrong;
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Wrong> {
        Err(Wrong::here(""))
    }
    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, names: &'static [&'static str], _: V) -> Result<V::Value, Wrong> {
        *self.0 = names;
        Err(Wrong::here(""))
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

impl Json {
    fn other_than(&self, expected: &str) -> Wrong {
        let found = match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) | Self::Parameter(_) => "text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        };
        Wrong::here(format!("is {found}, and must be {expected}"))
    }

    /// The digits of a whole number.
    fn whole(&self, signed: bool) -> Result<&str, Wrong> {
        let expected = if signed { "a whole number" } else { "a whole number, 0 or more" };
        match self {
            Self::Number(text) | Self::Parameter(text) => {
                let digits = if signed { text.strip_prefix('-').unwrap_or(text) } else { text };
                // One spelling: two texts are never the same number.
                let shortest = digits == "0" || !digits.starts_with('0');
                let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && shortest;
                if is_whole { Ok(text) } else { Err(Wrong::here(format!("is '{text}', and must be {expected}"))) }
            }
            _ => Err(self.other_than(expected)),
        }
    }
}

macro_rules! whole {
    ($($name:ident $visit:ident $type:ty, $signed:literal;)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let text = self.whole($signed)?;
            let number: $type = text.parse().map_err(|_| Wrong::here(format!("is {text}, and must be from {} to {}", <$type>::MIN, <$type>::MAX)))?;
            visitor.$visit(number)
        }
    )*};
}

macro_rules! text {
    ($($name:ident)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match self {
                Self::Text(text) | Self::Parameter(text) => visitor.visit_string(text),
                other => Err(other.other_than("text")),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Json {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(yes) => visitor.visit_bool(yes),
            Self::Number(text) | Self::Text(text) | Self::Parameter(text) => visitor.visit_string(text),
            list @ Self::List(_) => list.deserialize_seq(visitor),
            object @ Self::Object(_) => object.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Self::Bool(yes) => visitor.visit_bool(yes),
            Self::Parameter(text) if text == "true" || text == "false" => visitor.visit_bool(text == "true"),
            other => Err(other.other_than("true or false")),
        }
    }

    whole! {
        deserialize_u8 visit_u8 u8, false;
        deserialize_u16 visit_u16 u16, false;
        deserialize_u32 visit_u32 u32, false;
        deserialize_u64 visit_u64 u64, false;
        deserialize_i8 visit_i8 i8, true;
        deserialize_i16 visit_i16 i16, true;
        deserialize_i32 visit_i32 i32, true;
        deserialize_i64 visit_i64 i64, true;
    }
    text! { deserialize_char deserialize_str deserialize_string deserialize_identifier }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self == Self::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Self::Number(text) | Self::Text(text) | Self::Parameter(text) if name == TEXT_OR_NUMBER => visitor.visit_string(text),
            other if name == TEXT_OR_NUMBER => Err(other.other_than(TEXT_OR_NUMBER)),
            other => visitor.visit_newtype_struct(other),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Self::List(items) => visitor.visit_seq(Items(items.into_iter().enumerate())),
            other => Err(other.other_than("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Self::Object(fields) => visitor.visit_map(Fields { fields: fields.into_iter(), value: None }),
            other => Err(other.other_than("an object")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, names: &'static [&'static str], visitor: V) -> Result<V::Value, Wrong> {
        if let Self::Object(fields) = &self
            && let Some((name, _)) = fields.iter().find(|(name, _)| !names.contains(&name.as_str()))
        {
            return Err(Wrong::here(format!("is no field here: there are {}", names.join(", "))).below(name));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Self::Text(text) | Self::Parameter(text) => visitor.visit_enum(IntoDeserializer::<Wrong>::into_deserializer(text)),
            other => Err(other.other_than("text")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i128 u128 f32 f64 bytes byte_buf unit unit_struct tuple tuple_struct }
}

struct Items(std::iter::Enumerate<std::vec::IntoIter<Json>>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Wrong;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Wrong> {
        self.0.next().map(|(at, item)| seed.deserialize(item).map_err(|wrong| wrong.below(&at.to_string()))).transpose()
    }
}

struct Fields {
    fields: std::vec::IntoIter<(String, Json)>,
    value: Option<(String, Json)>,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Wrong;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Wrong> {
        let Some((name, value)) = self.fields.next() else { return Ok(None) };
        let key: StringDeserializer<Wrong> = name.clone().into_deserializer();
        self.value = Some((name, value));
        seed.deserialize(key).map(Some)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Wrong> {
        let (name, value) = self.value.take().unwrap_or((String::new(), Json::Null));
        seed.deserialize(value).map_err(|wrong| wrong.below(&name))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::http::json::parse;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Line {
        product: String,
        quantity: u32,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Whole {
        #[serde(default, alias = "address")]
        street: String,
        lines: Vec<Line>,
        paid: Option<bool>,
        currency: Option<kernel::Currency>,
    }

    #[derive(Debug, Deserialize)]
    struct Id {
        id: u64,
    }

    fn read(body: &str) -> Result<Both<Id, Whole>, String> {
        let Json::Object(object) = parse(body.as_bytes()).unwrap() else { panic!("no object") };
        given(object, "field").map_err(|wrong| format!("{} {wrong}", wrong.pointer))
    }

    #[test]
    fn what_is_wrong_is_said_in_our_words() {
        let good = read(r#"{"id":7,"address":"s","lines":[{"product":"p","quantity":2}],"paid":null,"currency":"EUR"}"#).unwrap();
        assert_eq!((good.0.id, good.1.street.as_str(), good.1.lines.len()), (7, "s", 1));
        for (body, said) in [
            (r#"{"lines":[]}"#, "/id 'id' is missing"),
            (r#"{"id":1}"#, "/lines 'lines' is missing"),
            (r#"{"id":"1","lines":[]}"#, "/id 'id' is text, and must be a whole number, 0 or more"),
            (r#"{"id":1.5,"lines":[]}"#, "/id 'id' is '1.5', and must be a whole number, 0 or more"),
            (r#"{"id":-1,"lines":[]}"#, "/id 'id' is '-1', and must be a whole number, 0 or more"),
            (r#"{"id":18446744073709551616,"lines":[]}"#, "from 0 to 18446744073709551615"),
            (r#"{"id":1,"lines":{}}"#, "/lines 'lines' is an object, and must be a list"),
            (r#"{"id":1,"lines":[{"product":"p","quantity":"2"}]}"#, "/lines/0/quantity 'lines/0/quantity' is text"),
            (r#"{"id":1,"lines":[{"product":7,"quantity":2}]}"#, "/lines/0/product 'lines/0/product' is a number, and must be text"),
            (r#"{"id":1,"lines":[{"product":"p","quantity":2,"x":1}]}"#, "/lines/0/x 'lines/0/x' is no field here: there are product, quantity"),
            (r#"{"id":1,"lines":[],"Paid":true}"#, "/Paid 'Paid' is no field of this route: it has id, "),
            (r#"{"id":1,"id":2,"lines":[]}"#, "/id 'id' is given twice"),
            (r#"{"id":1,"lines":[],"paid":"yes"}"#, "/paid 'paid' is text, and must be true or false"),
            (r#"{"id":1,"lines":[],"currency":"DOUBLOON"}"#, "/currency 'currency' is 'DOUBLOON', which is not known"),
        ] {
            let why = read(body).unwrap_err();
            assert!(why.contains(said), "{body}: {why}");
            for foreign in ["u64", "struct", "expected", "invalid type", "`"] {
                assert!(!why.contains(foreign), "{body}: {why}");
            }
        }
    }
}
