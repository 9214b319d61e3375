//! Open files: as many as the system gives, shared so that connections never take those that the log needs.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Fewer than this are not enough for the log, its folds, and a few callers.
const FILES_MIN: u64 = 1_024;
/// Connections that are open at once, at most.
const CONNECTIONS_MAX: u64 = 1_024;
/// What is neither a connection nor a database's file: brokers, threads, standard streams.
const OTHERS: u64 = 128;
/// Databases of a process, about: the log, and the heads and views of every service.
const DATABASES: u64 = 32;
/// What a database has open besides its tables.
const AROUND: u64 = 8;

/// Takes all that the system gives; an error where that is too few. Says how many connections may be open at once.
pub fn raise() -> anyhow::Result<usize> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some() && limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(why) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%why, "the limit of open files stays as it is");
        }
    }
    let files = allowed();
    anyhow::ensure!(files >= FILES_MIN, "this process may open {files} files, and needs {FILES_MIN} at least: allow more (ulimit -n {})", 4 * FILES_MIN);
    Ok(usize::try_from(connections(files)).unwrap_or(usize::MAX))
}

/// Tables that each database may have open.
pub fn of_a_database() -> i32 {
    i32::try_from(tables(allowed())).unwrap_or(i32::MAX)
}

fn allowed() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn connections(files: u64) -> u64 {
    (files / 8).min(CONNECTIONS_MAX)
}

fn tables(files: u64) -> u64 {
    let left = files.saturating_sub(connections(files) + OTHERS);
    (left / DATABASES).saturating_sub(AROUND).clamp(16, 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_stay_within_the_limit() {
        for files in [FILES_MIN, 1_500, 4_096, 20_000, 1 << 20, u64::MAX] {
            let all = connections(files) + OTHERS + DATABASES * (tables(files) + AROUND);
            assert!(all <= files, "{all} of {files}");
            assert!(connections(files) >= 128);
        }
    }
}
