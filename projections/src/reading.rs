//! Reads of a projection: of rows, by readers who must not see less than they saw before.

use eventstore::{Fault, Offset, Positions};
use schemas::{Partition, Topic};
use serde::de::DeserializeOwned;

use crate::follow::Projection;
use crate::overlay::read;

/// Why a read is not served now.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The view has not caught up since it was opened.
    #[error("view {0} is being folded: try again shortly")]
    Rebuilding(String),
    /// It stands before the position the reader brought.
    #[error("view {0} has not reached the position asked for")]
    Behind(String),
    /// It stopped, or the partition that the reader asks about did, at an event it cannot fold.
    #[error("view {view} does not go on: {why}")]
    Stopped {
        /// the view
        view: String,
        /// where and why
        why: String,
    },
    /// Its rows cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Projection {
    /// Whether it may serve a reader who brings `token` (possibly empty) and asks about what lies in the partition `of`
    /// of its topic, if that is known.
    pub fn serves(&self, token: &Positions, of: Option<Partition>) -> Result<(), ReadError> {
        let not_going_on = |why: String| ReadError::Stopped { view: self.name().to_owned(), why };
        if let Some(why) = self.failed() {
            return Err(not_going_on(why));
        }
        if !self.is_ready() {
            return Err(ReadError::Rebuilding(self.name().to_owned()));
        }
        let stopped = self.stopped.lock();
        if let Some(stuck) = of.and_then(|partition| stopped.get(&partition)) {
            return Err(not_going_on(stuck.to_string()));
        }
        // What is said of other topics concerns others.
        let (at, mut own) = (self.generation().at(), token.iter().filter(|(topic, ..)| *topic == self.view.topic));
        let behind = |(_, partition, next): &&(Topic, Partition, Offset)| at.get(partition).is_none_or(|here| here < next);
        match own.find(behind) {
            None => Ok(()),
            Some((_, partition, _)) => {
                Err(stopped.get(partition).map_or_else(|| ReadError::Behind(self.name().to_owned()), |stuck| not_going_on(stuck.to_string())))
            }
        }
    }

    /// A row.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Fault> {
        self.rows().get(key.as_bytes())?.map(|bytes| read(key, &bytes)).transpose()
    }

    /// Rows whose keys begin with `prefix`, from `from` on, at most `most` of them and at most `bytes`; and the key after them.
    pub fn page<T: DeserializeOwned>(&self, prefix: &str, from: Option<&str>, most: usize, bytes: usize) -> Result<(Vec<T>, Option<String>), Fault> {
        let (rows, next) = self.rows().scan_within(prefix.as_bytes(), from.map(str::as_bytes), most, bytes)?;
        let decode = |(key, row): &(Box<[u8]>, Box<[u8]>)| read(&String::from_utf8_lossy(key), row);
        Ok((rows.iter().map(decode).collect::<Result<_, _>>()?, next.map(|key| String::from_utf8_lossy(&key).into_owned())))
    }

    /// The same where the rows under the prefix are ids: of the rows that they name, whose keys `key` gives.
    pub fn page_through<T: DeserializeOwned>(
        &self,
        prefix: &str,
        from: Option<&str>,
        key: fn(&str) -> String,
        most: usize,
        bytes: usize,
    ) -> Result<(Vec<T>, Option<String>), Fault> {
        let all = self.rows();
        let (ids, next) = all.scan_within(prefix.as_bytes(), from.map(str::as_bytes), most, bytes)?;
        let (mut rows, mut sum) = (vec![], 0);
        for (at, id) in &ids {
            let at = String::from_utf8_lossy(at);
            let key = key(&read::<String>(&at, id)?);
            let Some(row) = all.get(key.as_bytes())? else { continue };
            sum += key.len() + row.len();
            if sum > bytes && !rows.is_empty() {
                return Ok((rows, Some(at.into_owned())));
            }
            rows.push(read(&key, &row)?);
        }
        Ok((rows, next.map(|key| String::from_utf8_lossy(&key).into_owned())))
    }

    /// Rows whose keys begin with `prefix`, from `from` on, at most `most`, with their keys.
    pub fn scan<T: DeserializeOwned>(&self, prefix: &str, from: Option<&str>, most: usize) -> Result<Vec<(String, T)>, Fault> {
        let rows = self.rows().scan(prefix.as_bytes(), from.map(str::as_bytes), most)?;
        let decode = |(key, row): &(Box<[u8]>, Box<[u8]>)| {
            let key = String::from_utf8_lossy(key).into_owned();
            read(&key, row).map(|row| (key, row))
        };
        rows.iter().map(decode).collect()
    }
}
