//! States as JSON, for people: whatever serde can write is shown, keys of maps that are no strings included. Never
//! read back, and no wire shape.

use std::fmt::Display;

use serde::ser::{self, Serialize};
use serde_json::{Map, Value, json};

/// A state as JSON; where it cannot be shown, why.
pub fn show<T: Serialize>(state: &T) -> Value {
    state.serialize(Shown).unwrap_or_else(|Unshown(why)| Value::String(format!("(cannot be shown: {why})")))
}

/// Writes values.
struct Shown;

/// What a state's own `Serialize` said against it.
#[derive(Debug)]
struct Unshown(String);

impl Display for Unshown {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Unshown {}

impl ser::Error for Unshown {
    fn custom<T: Display>(why: T) -> Self {
        Self(why.to_string())
    }
}

/// A list, under its variant's name if it has one.
struct List(Option<&'static str>, Vec<Value>);

/// An object, under its variant's name if it has one; a key that waits for its value.
struct Fields(Option<&'static str>, Map<String, Value>, String);

fn under(variant: Option<&'static str>, value: Value) -> Value {
    variant.map_or_else(|| value.clone(), |name| json!({ name: value }))
}

/// A key as the text it has in JSON, or as its JSON.
fn key(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

impl List {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unshown> {
        self.1.push(value.serialize(Shown)?);
        Ok(())
    }
    fn done(self) -> Result<Value, Unshown> {
        Ok(under(self.0, Value::Array(self.1)))
    }
}

impl Fields {
    fn add<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Unshown> {
        self.1.insert(name.to_owned(), value.serialize(Shown)?);
        Ok(())
    }
    fn done(self) -> Result<Value, Unshown> {
        Ok(under(self.0, Value::Object(self.1)))
    }
}

macro_rules! plain {
    ($($name:ident: $type:ty),* $(,)?) => {$(
        fn $name(self, value: $type) -> Result<Value, Unshown> {
            Ok(json!(value))
        }
    )*};
}

impl ser::Serializer for Shown {
    type Ok = Value;
    type Error = Unshown;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = List;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    plain! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_f32: f32, serialize_f64: f64, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
    }
    fn serialize_none(self) -> Result<Value, Unshown> {
        Ok(Value::Null)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Unshown> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Value, Unshown> {
        Ok(Value::Null)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Unshown> {
        Ok(Value::Null)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, Unshown> {
        Ok(json!(variant))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Value, Unshown> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(self, _: &'static str, _: u32, variant: &'static str, value: &T) -> Result<Value, Unshown> {
        Ok(under(Some(variant), value.serialize(self)?))
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<List, Unshown> {
        Ok(List(None, vec![]))
    }
    fn serialize_tuple(self, _: usize) -> Result<List, Unshown> {
        Ok(List(None, vec![]))
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List, Unshown> {
        Ok(List(None, vec![]))
    }
    fn serialize_tuple_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Result<List, Unshown> {
        Ok(List(Some(variant), vec![]))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Fields, Unshown> {
        Ok(Fields(None, Map::new(), String::new()))
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields, Unshown> {
        Ok(Fields(None, Map::new(), String::new()))
    }
    fn serialize_struct_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Result<Fields, Unshown> {
        Ok(Fields(Some(variant), Map::new(), String::new()))
    }
}

macro_rules! lists {
    ($($trait:ident $add:ident),* $(,)?) => {$(
        impl ser::$trait for List {
            type Ok = Value;
            type Error = Unshown;
            fn $add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unshown> {
                self.add(value)
            }
            fn end(self) -> Result<Value, Unshown> {
                self.done()
            }
        }
    )*};
}
lists! { SerializeSeq serialize_element, SerializeTuple serialize_element, SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field }

macro_rules! fields {
    ($($trait:ident),* $(,)?) => {$(
        impl ser::$trait for Fields {
            type Ok = Value;
            type Error = Unshown;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Unshown> {
                self.add(name, value)
            }
            fn end(self) -> Result<Value, Unshown> {
                self.done()
            }
        }
    )*};
}
fields! { SerializeStruct, SerializeStructVariant }

impl ser::SerializeMap for Fields {
    type Ok = Value;
    type Error = Unshown;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), Unshown> {
        self.2 = key(name.serialize(Shown)?);
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unshown> {
        let name = std::mem::take(&mut self.2);
        self.add(&name, value)
    }
    fn end(self) -> Result<Value, Unshown> {
        self.done()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(serde::Serialize)]
    enum Part {
        Bare,
        One(u8),
        Two(u8, String),
        Named { of: Option<i64> },
    }

    #[test]
    fn whatever_a_state_holds_is_shown() {
        let parts = [Part::Bare, Part::One(1), Part::Two(2, "b".into()), Part::Named { of: None }];
        assert_eq!(show(&parts), json!(["Bare", { "One": 1 }, { "Two": [2, "b"] }, { "Named": { "of": null } }]));
        let by_pair: BTreeMap<(u8, u8), Part> = [((1, 2), Part::Bare)].into();
        assert_eq!(show(&by_pair), json!({ "[1,2]": "Bare" }));
        let by_number: BTreeMap<u64, &str> = [(7, "seven")].into();
        assert_eq!(show(&by_number), json!({ "7": "seven" }));
    }
}
