//! Personal data where it stands in bodies: sealed before they are written, opened before their command is decided. Goes by
//! the name of the field alone; knows no shape.

use kernel::{Sealed, SealedFor};
use schemas::wire::{PERSONAL, SealedV1};
use serde_json::{Map, Value, json};

use super::sealer::{Error, Opened, Sealer};

/// What [`Personal`](schemas::wire::Personal) says of data that is clear.
const CLEAR: &str = "clear";
/// The same of sealed data; alone at the root of a body, all of which is sealed.
const SEALED: &str = "sealed";

/// Why a command's personal data cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Unopened {
    /// the command is at fault
    #[error("personal data: {0}")]
    Command(String),
    /// the keys are
    #[error(transparent)]
    Keys(Error),
}

/// For which record a body's data is sealed.
#[derive(Clone, Copy, Debug)]
pub struct Body<'b> {
    /// the record's id
    pub id: &'b str,
    /// its type, as `ce_type` has it
    pub kind: &'b str,
    /// whose data is in it
    pub subject: &'b str,
}

impl Body<'_> {
    fn field(&self, field: &str) -> SealedFor {
        SealedFor { event: self.id.to_owned(), kind: self.kind.to_owned(), subject: self.subject.to_owned(), field: field.to_owned() }
    }
}

impl Sealer {
    /// An event's body with its clear personal data sealed; nothing if there is none.
    ///
    /// # Errors
    /// If there is no key, or none can be made.
    pub fn seal_event(&self, of: Body<'_>, body: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.seal_fields(of, body, true)
    }

    /// The same of a command's, which does not say what it was sealed for: it opens for this command alone.
    ///
    /// # Errors
    /// As above.
    pub fn seal_command(&self, of: Body<'_>, body: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.seal_fields(of, body, false)
    }

    fn seal_fields(&self, of: Body<'_>, body: &[u8], told: bool) -> Result<Option<Vec<u8>>, Error> {
        let Ok(mut root) = serde_json::from_slice::<Value>(body) else { return Ok(None) };
        let mut any = false;
        each(&mut root, &mut String::new(), &mut |field, personal| -> Result<(), Error> {
            let Some(clear) = personal.get(CLEAR) else { return Ok(()) };
            let sealed = self.seal(&of.field(field), &bytes(clear))?;
            *personal = Map::from_iter([(SEALED.to_owned(), written(sealed, told))]);
            any = true;
            Ok(())
        })?;
        Ok(any.then(|| bytes(&root)))
    }

    /// A command's body, all of which is sealed: where it cannot be told what in it is personal.
    ///
    /// # Errors
    /// If there is no key, or none can be made.
    pub fn seal_whole(&self, of: Body<'_>, body: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(bytes(&json!({ SEALED: written(self.seal(&of.field(""), body)?, false) })))
    }

    /// A command's body with its personal data opened, as far as there are keys; nothing if there is nothing to open.
    ///
    /// # Errors
    /// If what is sealed is not this command's own. Data of other records, which anybody can copy, opens in no client's.
    pub fn open_command(&self, of: Body<'_>, body: &[u8], client: bool) -> Result<Option<Vec<u8>>, Unopened> {
        let Ok(mut root) = serde_json::from_slice::<Value>(body) else { return Ok(None) };
        if let Some(sealed) = root.as_object().filter(|root| root.len() == 1).and_then(|root| root.get(SEALED)) {
            return match self.open_own(of, "", sealed, client)? {
                Some((_, Opened::Clear(clear))) => Ok(Some(self.open_command(of, &clear, client)?.unwrap_or_else(|| clear.to_vec()))),
                _ => Err(Unopened::Command("the person was erased".to_owned())),
            };
        }
        let mut any = false;
        each(&mut root, &mut String::new(), &mut |field, personal| -> Result<(), Unopened> {
            let Some(sealed) = personal.get(SEALED) else { return Ok(()) };
            *personal = match self.open_own(of, field, sealed, client)? {
                None => return Ok(()),
                Some((_, Opened::Clear(clear))) => {
                    let clear = serde_json::from_slice(&clear).map_err(|why| Unopened::Command(why.to_string()))?;
                    Map::from_iter([(CLEAR.to_owned(), clear)])
                }
                Some((sealed, Opened::Erased)) => Map::from_iter([(SEALED.to_owned(), written(sealed, true))]),
            };
            any = true;
            Ok(())
        })?;
        Ok(any.then(|| bytes(&root)))
    }

    /// What was sealed for this command; nothing of what an inside command passes on.
    fn open_own(&self, of: Body<'_>, field: &str, sealed: &Value, client: bool) -> Result<Option<(Sealed, Opened)>, Unopened> {
        let wrong = |why: String| Unopened::Command(format!("{field}/sealed: {why}"));
        let sealed: SealedV1 = serde_json::from_value(sealed.clone()).map_err(|why| wrong(why.to_string()))?;
        let mut sealed = Sealed::from(sealed);
        match (sealed.about.is_some(), client) {
            (true, true) => return Err(wrong("it was sealed for another record: give it clear".to_owned())),
            (true, false) => return Ok(None),
            (false, _) => sealed.about = Some(of.field(field)),
        }
        match self.open(&sealed) {
            Ok(opened) => Ok(Some((sealed, opened))),
            Err(why) if why.is_of_the_data() => Err(wrong(why.to_string())),
            Err(why) => Err(Unopened::Keys(why)),
        }
    }
}

/// That a client's command holds nothing sealed, where there are no keys.
///
/// # Errors
/// If it does.
pub fn clear(body: &[u8]) -> Result<(), Unopened> {
    let Ok(mut root) = serde_json::from_slice::<Value>(body) else { return Ok(()) };
    each(&mut root, &mut String::new(), &mut |field, personal| match personal.get(SEALED) {
        Some(_) => Err(Unopened::Command(format!("{field}/sealed: this log seals nothing: give it clear"))),
        None => Ok(()),
    })
}

/// Visits all personal data, with its place.
fn each<E>(value: &mut Value, at: &mut String, visit: &mut impl FnMut(&str, &mut Map<String, Value>) -> Result<(), E>) -> Result<(), E> {
    let before = at.len();
    let mut below = |name: &str, value: &mut Value| {
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        let visited = match value {
            Value::Object(personal) if name == PERSONAL => visit(at, personal),
            other => each(other, at, visit),
        };
        at.truncate(before);
        visited
    };
    match value {
        Value::Object(fields) => fields.iter_mut().try_for_each(|(name, value)| below(name, value)),
        Value::Array(items) => items.iter_mut().enumerate().try_for_each(|(index, value)| below(&index.to_string(), value)),
        _ => Ok(()),
    }
}

fn written(mut sealed: Sealed, told: bool) -> Value {
    if !told {
        sealed.about = None;
    }
    serde_json::to_value(SealedV1::from(sealed)).unwrap_or_default()
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
