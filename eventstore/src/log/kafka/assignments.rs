//! Claims: who owns which partition of a group, and under which transactional ids it writes. An heir ends what a dead
//! owner left open, at once and for good, before it reads anything (without that it would wait for the broker's
//! time-out, more than a minute). Whoever hands over writes that it did, and is never fenced.

use std::collections::BTreeMap;

use schemas::{Headers, Partition};
use serde::{Deserialize, Serialize};

use super::config::assignments;
use crate::log::{Message, Offset};

/// An assignment as the log keeps it, in JSON. Fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentRecord {
    /// the group
    pub group: String,
    /// the partition, of all its topics
    pub partition: u16,
    /// the topics whose positions were committed with this assignment
    pub topics: Vec<String>,
    /// the owner's transactional ids, as on the cluster
    pub ids: Vec<String>,
    /// where the owner's HTTP is reached
    pub url: Option<String>,
    /// whether it has handed over
    pub released: bool,
}

impl AssignmentRecord {
    /// Whether an instance on this log may have written it. Its ids are fenced and its address is asked: those of others,
    /// on the cluster or beside it, are none of ours. (Who may write here at all is for the broker's ACLs to say.)
    pub(super) fn may_be(&self, namespace: &str, partition: Partition) -> bool {
        let is_id = |id: &String| id.strip_prefix(namespace).is_some_and(|id| !id.is_empty());
        let is_address = |url: &String| ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) && !url.contains('@');
        self.partition == partition.0 && !self.ids.is_empty() && self.ids.iter().all(is_id) && self.url.iter().all(is_address)
    }

    /// The record of it.
    pub fn message(&self) -> Message {
        let partition = Partition(self.partition);
        let key = format!("{}/{partition}", self.group).into_bytes();
        Message { topic: assignments(), partition, key, headers: Headers::default(), value: Some(serde_json::to_vec(self).unwrap_or_default()) }
    }
}

/// The assignments known here, and up to where they were read.
#[derive(Default)]
pub struct Table {
    pub(super) assignments: BTreeMap<(String, Partition), AssignmentRecord>,
    pub(super) read: BTreeMap<Partition, Offset>,
}

impl Table {
    /// The last assignment on a partition.
    pub fn last(&self, group: &str, partition: Partition) -> Option<&AssignmentRecord> {
        self.assignments.get(&(group.to_owned(), partition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_names_nobody_elses_ids_and_no_odd_address() {
        let assignment = |ids: &[&str], url: &str, partition| AssignmentRecord {
            group: "stock".to_owned(),
            partition,
            topics: vec![],
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            url: Some(url.to_owned()),
            released: false,
        };
        for (ids, url, partition, ours) in [
            (&["shop.stock.1.0", "shop.stock.1.1"][..], "http://10.0.0.7:8080", 3, true),
            (&["shop.stock.1.0"], "https://host", 3, true),
            (&["shop.stock.1.0", "payroll-writer"], "http://host", 3, false),
            (&["shop."], "http://host", 3, false),
            (&[""], "http://host", 3, false),
            (&[], "http://host", 3, false),
            (&["shop.stock.1.0"], "http://host", 4, false),
            (&["shop.stock.1.0"], "file:///etc/passwd", 3, false),
            (&["shop.stock.1.0"], "http://daybook@host", 3, false),
        ] {
            assert_eq!(assignment(ids, url, partition).may_be("shop.", Partition(3)), ours, "{ids:?} {url} {partition}");
        }
    }
}
