//! The one place for personal data in a shape: a field `personal`, clear or sealed.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// Personal data as this version writes it: clear. It tells sealed data when it meets some, but holds no keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Personal<P> {
    /// readable by all
    Clear(P),
}

impl<P> Personal<P> {
    /// What is in it.
    pub fn into_clear(self) -> P {
        let Self::Clear(clear) = self;
        clear
    }
}

/// Personal data: clear, or sealed under a person's key.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Personal")]
enum Form<P> {
    /// readable by all
    Clear(P),
    /// readable by who holds the key; nobody does once the person is erased
    Sealed {
        /// the key's name
        key: String,
        /// the sealed fields
        data: String,
    },
}

impl<'de, P: Deserialize<'de>> Deserialize<'de> for Personal<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::<P>::deserialize(deserializer)? {
            Form::Clear(person) => Ok(Self::Clear(person)),
            Form::Sealed { key, data } => {
                let bytes = data.len();
                Err(D::Error::custom(format!("sealed personal data needs the key service: {bytes} bytes under key '{key}', and this version holds no keys")))
            }
        }
    }
}

/// Documents show both forms: shapes of version 1 will hold either.
impl<P: JsonSchema> JsonSchema for Personal<P> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Form::<P>::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Form::<P>::json_schema(generator)
    }
}
