//! The directories of a view's rows. One is served; one may be folded beside it; and the one that was served before may be
//! kept, to be served again. A file beside them says which is which, and is replaced whole: so a process that dies in
//! between finds one or the other, never neither.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use eventstore::memory::Memory;
use eventstore::rows::Rows;
use eventstore::{Fault, Offset};
use schemas::Partition;
use serde::{Deserialize, Serialize};

/// Bytes that are left on the disk at least: what is folded beside must not take them from what is served.
const DISK_BYTES_MIN: u64 = 256 * 1024 * 1024;

/// Where a fold stands in the partitions of its topic.
pub type Vector = BTreeMap<Partition, Offset>;

/// Why rows are folded beside those that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// somebody asked for it
    Asked,
    /// those that are served are of another shape
    Shape,
    /// they were served before, and are to be again
    Rollback,
}

/// What is folded beside, and what is to become of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// its generation
    pub number: u32,
    /// why
    pub why: Why,
    /// Folded up to these offsets and not further; those of the rows that are served if none are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Vector>,
    /// most records folded in a second
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// it is served once it is the same
    pub swaps: bool,
    /// and where it differs, too
    pub accepts: bool,
    /// what is served until then is kept, to be served again
    pub keeps: bool,
    /// it waits
    #[serde(default)]
    pub paused: bool,
    /// who asked
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

impl Asked {
    /// To be swapped in for rows of another shape, whatever these say: none of them can be expected to be the same.
    pub fn for_shape(number: u32) -> Self {
        Self { number, why: Why::Shape, until: None, rate: None, swaps: true, accepts: true, keeps: true, paused: false, actor: None }
    }
}

/// Which generation is what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// readers see it
    pub serving: u32,
    /// it was served before
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<u32>,
    /// it is folded beside
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Asked>,
    /// nothing is folded into what is served
    #[serde(default)]
    pub paused: bool,
    /// the shape that each was made with
    #[serde(default)]
    pub shapes: BTreeMap<u32, String>,
}

impl Roles {
    /// A number that none has.
    pub fn next(&self) -> u32 {
        let numbers = [Some(self.serving), self.previous, self.beside.as_ref().map(|beside| beside.number)];
        numbers.into_iter().flatten().chain(self.shapes.keys().copied()).max().unwrap_or_default() + 1
    }

    fn has(&self, number: u32) -> bool {
        self.serving == number || self.previous == Some(number) || self.beside.as_ref().is_some_and(|beside| beside.number == number)
    }
}

/// The generations of one view.
pub struct Generations {
    views: PathBuf,
    name: String,
}

impl Generations {
    /// Of a view whose rows lie below `views`.
    pub fn of(views: &Path, name: &str) -> Self {
        Self { views: views.to_path_buf(), name: name.to_owned() }
    }

    /// Where a generation lies. The first has the view's own name: that is where rows lay before there were others.
    pub fn dir(&self, number: u32) -> PathBuf {
        self.views.join(if number == 0 { self.name.clone() } else { format!("{}.{number}", self.name) })
    }

    /// Where the rows lie that are served.
    pub fn serving(views: &Path, name: &str) -> Result<PathBuf, Fault> {
        let all = Self::of(views, name);
        Ok(all.dir(all.roles()?.serving))
    }

    /// Where the rows of this shape lie, or are to be made; from now on they are those that are served. Rows of another shape
    /// are kept, for a program that has theirs.
    pub fn of_shape(&self, shape: &str, memory: &Memory) -> Result<PathBuf, Fault> {
        let settled = self.roles()?;
        let mut roles = self.known(settled.clone(), memory)?;
        let is = |number: &u32| roles.shapes.get(number).is_none_or(|found| found == shape);
        if !is(&roles.serving) {
            let previous = roles.previous.filter(is);
            let next = previous.unwrap_or_else(|| roles.next());
            (roles.previous, roles.serving) = (Some(roles.serving), next);
        }
        roles.shapes.insert(roles.serving, shape.to_owned());
        if roles != settled {
            self.settle(&mut roles, |_| false)?;
        }
        Ok(self.dir(roles.serving))
    }

    /// With the shape of rows of a version before, which say themselves what they are.
    pub fn known(&self, mut roles: Roles, memory: &Memory) -> Result<Roles, Fault> {
        let first = self.dir(0);
        if roles.shapes.is_empty() && first.is_dir() {
            roles.shapes.extend(Rows::shape_in(&first, memory)?.map(|shape| (0, shape)));
        }
        Ok(roles)
    }

    fn file(&self) -> PathBuf {
        self.views.join(format!("{}.generations", self.name))
    }

    /// As they were last settled.
    pub fn roles(&self) -> Result<Roles, Fault> {
        let file = self.file();
        let unreadable = |why: &dyn std::fmt::Display| {
            Fault::Fatal(format!("{}: {why}; delete it with the directories of that name beside it: the view is folded anew", file.display()))
        };
        let bytes = match std::fs::read(&file) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Roles::default()),
            read => read.map_err(|why| unreadable(&why))?,
        };
        let roles: Roles = serde_json::from_slice(&bytes).map_err(|why| unreadable(&why))?;
        let beside = roles.beside.as_ref().map(|beside| beside.number);
        let twice = [roles.previous, beside].contains(&Some(roles.serving)) || (beside.is_some() && beside == roles.previous);
        if twice { Err(unreadable(&"one generation is two things")) } else { Ok(roles) }
    }

    /// The same; where the list is lost, damaged or of something else, what can be made of the directories that are there: the one
    /// that is folded furthest, of those whose marks `fits` takes, is served.
    pub fn recovered(&self, fits: impl Fn(&str) -> bool, memory: &Memory) -> Result<Roles, Fault> {
        match self.roles() {
            Ok(roles) if roles.shapes.values().all(|shape| fits(shape)) && (roles != Roles::default() || self.numbers().is_empty()) => return Ok(roles),
            Ok(_) => tracing::warn!(file = %self.file().display(), "the list of generations is lost or another's: what is there is looked through"),
            Err(why) if self.file().is_file() => tracing::warn!(%why, "the list of generations is damaged: what is there is looked through"),
            Err(why) => return Err(why),
        }
        let mut furthest: Option<(u64, u32, String)> = None;
        for number in std::iter::once(0).chain(self.numbers()) {
            let dir = self.dir(number);
            let Some(shape) = Rows::shape_in(&dir, memory).ok().flatten().filter(|shape| fits(shape)) else { continue };
            let Ok(at) = Rows::look(&dir, &shape, None, memory).and_then(|rows| rows.freeze().positions()) else { continue };
            let found = (at.iter().map(|(.., next)| next.0).sum(), number, shape);
            if furthest.as_ref().is_none_or(|before| (before.0, before.1) < (found.0, found.1)) {
                furthest = Some(found);
            }
        }
        let mut roles = Roles::default();
        if let Some((_, number, shape)) = furthest {
            roles.serving = number;
            roles.shapes.insert(number, shape);
        }
        self.settle(&mut roles, |_| false)?;
        Ok(roles)
    }

    /// Numbers of the directories that are there, beside the first.
    fn numbers(&self) -> Vec<u32> {
        let number = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().strip_prefix(&self.name)?.strip_prefix('.')?.parse().ok();
        std::fs::read_dir(&self.views).into_iter().flatten().flatten().filter_map(number).collect()
    }

    /// Removes directories that no role knows, of rebuilds that were never settled, or of a file that was lost.
    pub fn clear(&self, roles: &Roles) {
        for dir in self.numbers().into_iter().filter(|number| !roles.has(*number)).map(|number| self.dir(number)) {
            if let Err(why) = std::fs::remove_dir_all(&dir) {
                tracing::warn!(dir = %dir.display(), %why, "nobody's rows cannot be removed");
            }
        }
    }

    /// Removes one, whatever lies there.
    pub fn remove(&self, number: u32) -> std::io::Result<()> {
        let dir = self.dir(number);
        if dir.is_dir() { std::fs::remove_dir_all(dir) } else { std::fs::remove_file(dir) }
    }

    /// Settles who is what; then removes those that are nothing any more, unless `open` says that somebody reads them still.
    pub fn settle(&self, roles: &mut Roles, open: impl Fn(u32) -> bool) -> Result<(), Fault> {
        let gone: Vec<u32> = roles.shapes.keys().copied().filter(|number| !roles.has(*number)).collect();
        for number in gone.iter().filter(|number| !open(**number)) {
            roles.shapes.remove(number);
        }
        self.write(roles).map_err(|why| Fault::Fatal(format!("{}: {why}", self.file().display())))?;
        for dir in gone.into_iter().filter(|number| !open(*number)).map(|number| self.dir(number)).filter(|dir| dir.exists()) {
            std::fs::remove_dir_all(&dir).map_err(|why| Fault::Fatal(format!("{}: {why}", dir.display())))?;
        }
        Ok(())
    }

    fn write(&self, roles: &Roles) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.views)?;
        let new = self.file().with_extension("generations.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(roles)?)?;
        file.sync_all()?;
        std::fs::rename(&new, self.file())?;
        File::open(&self.views)?.sync_all()
    }
}

/// That there is room where rows are folded beside.
pub fn room(dir: &Path) -> Result<(), Fault> {
    let there = dir.ancestors().find(|above| above.exists()).unwrap_or(dir);
    let Ok(disk) = rustix::fs::statvfs(there) else { return Ok(()) };
    let left = disk.f_bavail.saturating_mul(disk.f_frsize);
    if left >= DISK_BYTES_MIN {
        return Ok(());
    }
    let mib = 1024 * 1024;
    Err(Fault::Fatal(format!(
        "the disk of {} has {} MiB left, and what is served needs the last {} of them: make room, and ask again",
        dir.display(),
        left / mib,
        DISK_BYTES_MIN / mib
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn who_is_nothing_any_more_goes_once_nobody_reads_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let all = Generations::of(dir.path(), "orders");
        assert_eq!((all.roles().unwrap(), all.dir(0), all.roles().unwrap().next()), (Roles::default(), dir.path().join("orders"), 1));
        let shapes = [(0, "orders 1"), (1, "orders 2"), (2, "orders 2")].map(|(number, shape)| (number, shape.to_owned()));
        let mut roles = Roles { serving: 2, shapes: shapes.into(), ..Roles::default() };
        (0..3).for_each(|number| std::fs::create_dir(all.dir(number)).unwrap());
        all.settle(&mut roles, |number| number == 1).unwrap();
        assert_eq!((all.dir(0).exists(), all.dir(1).exists(), all.dir(2).exists()), (false, true, true));
        let mut again = all.roles().unwrap();
        assert_eq!((&again, again.next()), (&roles, 3));
        all.settle(&mut again, |_| false).unwrap();
        assert!(!all.dir(1).exists() && all.dir(2).exists());
        std::fs::write(dir.path().join("orders.generations"), "{").unwrap();
        assert!(all.roles().unwrap_err().to_string().contains("delete it with the directories"));
    }
}
