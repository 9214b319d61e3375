//! A file of clients' settings that is looked at while they run: a password that changes there is given to every client, which
//! signs in with it from then on; connections that stand go on. Shows nobody what stands there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::{Client, ClientContext};

use super::ffi;
use crate::log::Fault;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(200);
const USER: &str = "sasl.username";
const PASSWORD: &str = "sasl.password";

/// See the module. Without a file there is nothing to look at.
#[derive(Default)]
pub struct Credentials {
    file: Option<PathBuf>,
    known: Mutex<Known>,
    changes: AtomicU64,
}

#[derive(Default)]
struct Known {
    settings: BTreeMap<String, String>,
    looked: Option<Instant>,
    /// what is wrong with the file, as it was said last
    wrong: Option<String>,
}

impl Credentials {
    /// Those of a file: one `KEY=VALUE` a line, `#` begins a comment.
    pub fn of(file: PathBuf) -> Self {
        let credentials = Self { file: Some(file), ..Self::default() };
        credentials.look();
        credentials
    }

    /// Fatal, naming the file, where it could not be read.
    pub fn check(&self) -> Result<(), Fault> {
        self.known.lock().wrong.clone().map_or(Ok(()), |why| Err(Fault::Fatal(why)))
    }

    /// Where they stand, if they are looked at.
    pub fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// What stands there now.
    pub fn settings(&self) -> BTreeMap<String, String> {
        self.known.lock().settings.clone()
    }

    /// Looks at the file, if it was not just looked at.
    pub fn look(&self) {
        let Some(file) = &self.file else { return };
        let mut known = self.known.lock();
        if known.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        let first = known.looked.replace(Instant::now()).is_none();
        let read = std::fs::read_to_string(file).map_err(|why| why.to_string()).and_then(|text| parse(&text));
        // A file that is being written is not taken for one without a password.
        let read = read.and_then(|new| match [USER, PASSWORD].iter().find(|key| known.settings.contains_key(**key) && !new.contains_key(**key)) {
            Some(gone) => Err(format!("{gone} is gone from it: what it was still holds")),
            None => Ok(new),
        });
        match read {
            Ok(new) => {
                if !first && known.settings != new {
                    let signs_in = |settings: &BTreeMap<String, String>| [USER, PASSWORD].map(|key| settings.get(key).cloned());
                    let what =
                        if signs_in(&known.settings) == signs_in(&new) { "new clients have other settings" } else { "clients sign in with other credentials" };
                    tracing::info!(file = %file.display(), "{what} from now on");
                    self.changes.fetch_add(1, Ordering::AcqRel);
                }
                (known.settings, known.wrong) = (new, None);
            }
            Err(why) => {
                let why = format!("Kafka settings file {}: {why}", file.display());
                if known.wrong.as_ref() != Some(&why) && !first {
                    tracing::error!(why, "it is looked at again");
                }
                known.wrong = Some(why);
            }
        }
    }

    /// Rises with every change.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Gives a client what it signs in with, if that has changed since it `has` been given it.
    pub fn renew<C: ClientContext>(&self, has: &mut u64, client: &Client<C>) {
        let changes = self.changes();
        if *has != changes {
            self.give(client);
            *has = changes;
        }
    }

    /// Gives a client what it signs in with.
    pub fn give<C: ClientContext>(&self, client: &Client<C>) {
        let settings = self.settings();
        if let (Some(user), Some(password)) = (settings.get(USER), settings.get(PASSWORD))
            && let Err(why) = ffi::sign_in(client, user, password)
        {
            tracing::error!(why, "a client goes on with the credentials of before");
        }
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let pair = |(at, line): (usize, &str)| {
        let (key, value) = line.split_once('=').ok_or(format!("line {}: expected KEY=VALUE", at + 1))?;
        Ok((key.trim().to_owned(), value.to_owned()))
    };
    lines.map(pair).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_new_password_is_seen_and_half_a_file_is_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cart");
        std::fs::write(&file, "# of cart\nsasl.username=cart\nsasl.password=a=b \n").unwrap();
        let credentials = Credentials::of(file.clone());
        credentials.check().unwrap();
        assert_eq!((credentials.settings()[PASSWORD].as_str(), credentials.changes()), ("a=b ", 0));
        let look = |text: &str| {
            std::fs::write(&file, text).unwrap();
            credentials.known.lock().looked = Instant::now().checked_sub(LOOK);
            credentials.look();
            (credentials.settings()[PASSWORD].clone(), credentials.changes(), credentials.check().is_ok())
        };
        assert_eq!(look("sasl.username=cart\n"), ("a=b ".into(), 0, false), "it is being written");
        assert_eq!(look("sasl.username=cart\nsasl.password=c\n"), ("c".into(), 1, true));
        assert_eq!(look("what"), ("c".into(), 1, false));
        let missing = Credentials::of(dir.path().join("none")).check().unwrap_err().to_string();
        assert!(missing.contains("none") && !missing.contains("cart"), "{missing}");
    }
}
