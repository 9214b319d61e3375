//! How the memory of a process is divided: one figure is given, and everything that can grow gets its part of it.

use crate::misuse::misused;

/// One MiB, in bytes.
const MIB: usize = 1024 * 1024;
/// What a process takes before it keeps anything: code, stacks, tables, the work of hashing passwords.
const PROGRAM: usize = 96 * MIB;
/// Bodies of requests, and commands on their way to the log.
pub(crate) const REQUESTS: usize = 64 * MIB;
/// What a process may have where nothing else is said.
pub const USUAL: usize = 1024 * MIB;
/// The least that a process works with.
const LEAST: usize = 320 * MIB;

/// How many share what.
#[derive(Clone, Copy, Debug)]
pub struct Sharers {
    /// topics of the log
    pub topics: usize,
    /// services that run here
    pub services: usize,
    /// whether the log is on Kafka, whose clients keep what they fetch
    pub on_kafka: bool,
}

/// Bytes of each part. What is left of the whole is for what allocators keep, and for a moment's more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// all of it
    pub total: usize,
    /// blocks and write buffers of all databases
    pub databases: usize,
    /// of those, write buffers
    pub write_buffers: usize,
    /// newest records of each topic
    pub newest_records: usize,
    /// states of each service's aggregates
    pub heads: usize,
    /// what each client of Kafka fetches ahead
    pub fetched: usize,
    topics: usize,
    services: usize,
    clients: usize,
}

impl Budget {
    /// Of a process that may have `total` bytes.
    ///
    /// # Errors
    /// Misuse, if that is less than it works with.
    pub fn of(total: usize, sharers: Sharers) -> anyhow::Result<Self> {
        check(total)?;
        let shared = total - PROGRAM - REQUESTS - total / 10;
        let share = |hundredths: usize| shared / 100 * hundredths;
        let (topics, services) = (sharers.topics.max(1), sharers.services.max(1));
        // A worker and a router for each service, the tail and what pages are read by.
        let clients = if sharers.on_kafka { 2 * services + 4 } else { 0 };
        let databases = share(if sharers.on_kafka { 35 } else { 50 });
        Ok(Self {
            total,
            databases,
            write_buffers: databases / 2,
            newest_records: share(if sharers.on_kafka { 15 } else { 20 }) / topics,
            heads: share(20) / services,
            fetched: share(20) / clients.max(1),
            topics,
            services,
            clients,
        })
    }

    /// The parts with their names, for people and for metrics.
    pub fn parts(&self) -> Vec<(&'static str, usize)> {
        let (newest, heads, fetched) = (self.newest_records * self.topics, self.heads * self.services, self.fetched * self.clients);
        let reserve = self.total - PROGRAM - REQUESTS - self.databases - newest - heads - fetched;
        let parts = [("program", PROGRAM), ("requests", REQUESTS), ("databases", self.databases), ("newest records", newest), ("heads", heads)];
        parts.into_iter().chain((fetched > 0).then_some(("Kafka's clients", fetched))).chain([("reserve", reserve)]).collect()
    }

    /// In a line.
    pub fn said(&self) -> String {
        let parts: Vec<String> = self.parts().into_iter().map(|(name, bytes)| format!("{name} {}", bytes / MIB)).collect();
        format!("{} MiB: {}", self.total / MIB, parts.join(", "))
    }
}

/// Takes memory in pages of their own size, and in no huge ones: an allocator that asks for those, as mimalloc does, holds 2 MiB
/// where a part of it is used. Measured under load: 207 MiB with them and 117 without, and no fewer transactions. Before any
/// thread begins. Where the system knows no such thing there is nothing to do.
pub fn in_small_pages() {
    #[cfg(target_os = "linux")]
    let _as_it_is = rustix::thread::disable_transparent_huge_pages(true);
}

/// That a process works with so many bytes.
pub fn check(total: usize) -> anyhow::Result<()> {
    if total < LEAST {
        misused!("--memory: a process needs {} MiB or more, and {total} bytes were given", LEAST / MIB);
    }
    Ok(())
}

/// A figure as `1GiB`, `512MiB`, `1.5GB`, as Kubernetes writes it (`1Gi`), or in bytes.
pub fn parse(text: &str) -> Result<usize, String> {
    let number = text.find(|sign: char| !sign.is_ascii_digit() && sign != '.').map_or((text, ""), |at| text.split_at(at));
    let unit = match number.1.trim().to_ascii_lowercase().trim_end_matches('b') {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "t" => 1e12,
        "ki" => 1024.0,
        "mi" => MIB as f64,
        "gi" => 1024.0 * MIB as f64,
        "ti" => 1024.0 * 1024.0 * MIB as f64,
        _ => f64::NAN,
    };
    let bytes = number.0.parse::<f64>().unwrap_or(f64::NAN) * unit;
    // A figure that no machine has is a typing error.
    if !(0.0..=1e15).contains(&bytes) {
        return Err(format!("'{text}' is no amount of memory: write it as 1GiB, 512MiB or 1073741824"));
    }
    Ok(bytes as usize)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_in_the_whole_whatever_it_is() {
        for (topics, services, on_kafka) in [(1, 1, false), (40, 12, false), (40, 12, true), (200, 60, true)] {
            for total in [LEAST, 512 * MIB, 1024 * MIB, 64 * 1024 * MIB] {
                let budget = Budget::of(total, Sharers { topics, services, on_kafka }).unwrap();
                assert_eq!(budget.parts().iter().map(|(_, bytes)| bytes).sum::<usize>(), total);
                let reserve = budget.parts().last().unwrap().1;
                assert!(reserve >= total / 10 && budget.write_buffers < budget.databases, "{}", budget.said());
            }
        }
        assert!(Budget::of(LEAST - 1, Sharers { topics: 1, services: 1, on_kafka: false }).is_err());
    }

    #[test]
    fn a_figure_is_read_as_people_write_it() {
        for (text, bytes) in [
            ("1GiB", 1 << 30),
            ("1Gi", 1 << 30),
            ("512MiB", 512 * MIB),
            ("1.5GB", 1_500_000_000),
            ("1073741824", 1 << 30),
            ("2 MB", 2_000_000),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "-1GiB", "1XiB", "1e9", "1GiBs", "99999999999999999999"] {
            assert!(parse(text).unwrap_err().contains("1GiB"), "{text}");
        }
    }
}
