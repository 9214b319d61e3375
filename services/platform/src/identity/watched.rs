//! The signing keys as their file has them now. It must never be without keys because of a file that broke meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use parking_lot::{Mutex, RwLock};

use crate::identity::signing::{SigningKeys, Stamp};

/// A file of keys that others may rotate. Whoever has it calls `refresh` once a second or so.
pub struct Watched {
    path: PathBuf,
    keys: RwLock<Arc<SigningKeys>>,
    stamp: Mutex<Stamp>,
}

impl Watched {
    /// The keys in this file; one that is not there is made.
    pub fn open_or_make(path: &Path) -> anyhow::Result<Self> {
        SigningKeys::open_or_make(path)?;
        let (keys, stamp) = SigningKeys::read(path)?;
        Ok(Self { path: path.to_owned(), keys: RwLock::new(Arc::new(keys)), stamp: Mutex::new(stamp) })
    }

    /// The keys as they are now. To be asked for anew for each token.
    pub fn keys(&self) -> Arc<SigningKeys> {
        Arc::clone(&self.keys.read())
    }

    /// Reads the file again if it changed; whether it did. The keys stay what they were if it is broken or gone, and
    /// every call fails until it is whole again.
    pub fn refresh(&self) -> anyhow::Result<bool> {
        let mut stamp = self.stamp.lock();
        if Stamp::at(&self.path)? == *stamp {
            return Ok(false);
        }
        let (keys, now) = SigningKeys::read(&self.path).context("the signing keys stay as they were")?;
        *self.keys.write() = Arc::new(keys);
        *stamp = now;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rotation_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("signing.json");
        let watched = Watched::open_or_make(&path).unwrap();
        assert!(!watched.refresh().unwrap());
        let before = watched.keys();
        let rotation = SigningKeys::rotate(&path, 1000, Duration::ZERO).unwrap();
        assert!(watched.refresh().unwrap());
        assert!(!watched.refresh().unwrap());
        assert_eq!(watched.keys().signs(1000).unwrap().kid(), rotation.added);
        assert_ne!(before.signs(1000).unwrap().kid(), rotation.added, "who holds the old set keeps it");
    }

    #[test]
    fn a_broken_file_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("signing.json");
        let watched = Watched::open_or_make(&path).unwrap();
        let (kid, good) = (watched.keys().signs(0).unwrap().kid().to_owned(), std::fs::read(&path).unwrap());
        let set_mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let check = |what: &str| {
            for _ in 0..2 {
                assert!(watched.refresh().is_err(), "{what}");
                assert_eq!(watched.keys().signs(0).unwrap().kid(), kid);
            }
        };
        for bad in [&b""[..], b"{}", b"{\"keys\":[]}", &good[..good.len() / 2]] {
            std::fs::write(&path, bad).unwrap();
            check("broken");
        }
        std::fs::write(&path, &good).unwrap();
        assert!(watched.refresh().unwrap());
        set_mode(0o644);
        check("readable by others");
        set_mode(0o600);
        assert!(watched.refresh().unwrap());
        std::fs::remove_file(&path).unwrap();
        check("gone");
    }
}
