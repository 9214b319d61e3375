//! Hashing and verifying of passwords with Argon2id, as many at once as there are cores. It must never tell by its time
//! or its answer whether there is an account, nor let a queue grow without end.

use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::Context;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;

use crate::identity::password::Password;

/// Memory of a hash. These three are OWASP's figures for Argon2id.
pub const MEMORY_KIB: u32 = 19_456;
/// How often that memory is gone through.
pub const PASSES: u32 = 2;
/// Lanes of a hash.
pub const LANES: u32 = 1;
/// How many may wait for their turn; whoever comes then is sent away.
pub const WAITING_MAX: usize = 64;

/// What a stored hash may ask for at most, so that one row cannot take all memory or time.
const STORED_MEMORY_KIB_MAX: u32 = 256 * 1024;
const STORED_PASSES_MAX: u32 = 16;
const STORED_LANES_MAX: u32 = 16;

/// Hashes and verifies passwords.
#[derive(Clone)]
pub struct Passwords(Arc<Inner>);

struct Inner {
    argon2: Argon2<'static>,
    /// of a password that nobody knows
    dummy: PasswordHash,
    /// one for each that is at work or waits
    places: Arc<Semaphore>,
    /// one for each that is at work
    turns: Arc<Semaphore>,
}

/// What came of verifying.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// whether the password is the stored one
    pub matches: bool,
    /// a hash to store instead, where the stored one was made with other parameters than today's
    pub rehash: Option<String>,
}

/// Too many wait already, or there is no memory for one more. Nothing was done: try again in a while.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many passwords are being checked: try again in a while")]
pub struct Busy;

impl Passwords {
    /// So many at once; as many as there are cores if nothing is said. Takes as long as one hash.
    pub fn new(at_once: Option<NonZeroUsize>) -> anyhow::Result<Self> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|why| anyhow::anyhow!("parameters of Argon2: {why}"))?;
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self::with(params, at_once.unwrap_or_else(cores).get(), WAITING_MAX)
    }

    fn with(params: Params, at_once: usize, waiting_max: usize) -> anyhow::Result<Self> {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut unknown = [0; 32];
        getrandom::fill(&mut unknown).context("random bytes of the system")?;
        let dummy = argon2.hash_password(&unknown).map_err(|why| anyhow::anyhow!("a first hash: {why}"))?;
        let (places, turns) = (Arc::new(Semaphore::new(at_once + waiting_max)), Arc::new(Semaphore::new(at_once)));
        Ok(Self(Arc::new(Inner { argon2, dummy, places, turns })))
    }

    /// A hash to store, with its parameters and its own salt in it.
    pub async fn hash(&self, password: Password) -> Result<String, Busy> {
        self.in_turn(move |inner| inner.hashed(&password)).await?
    }

    /// Whether a password is the stored one. Where none is stored, for want of an account, it takes as long.
    pub async fn verify(&self, password: Password, stored: Option<String>) -> Result<Verified, Busy> {
        self.in_turn(move |inner| inner.verified(&password, stored.as_deref())).await?
    }

    /// Does the work when its turn comes. Whoever stops waiting for the answer does not free its turn before the work is done.
    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> T + Send + 'static) -> Result<T, Busy> {
        let inner = Arc::clone(&self.0);
        let place = Arc::clone(&inner.places).try_acquire_owned().map_err(|_| Busy)?;
        let turn = Arc::clone(&inner.turns).acquire_owned().await.map_err(|_| Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            let _until_done = (place, turn);
            work(&inner)
        });
        done.await.map_err(|why| {
            tracing::error!(%why, "a password could not be looked at");
            Busy
        })
    }
}

impl Inner {
    fn hashed(&self, password: &Password) -> Result<String, Busy> {
        self.argon2.hash_password(password.bytes()).map(|hash| hash.to_string()).map_err(|why| failed(&why))
    }

    fn verified(&self, password: &Password, stored: Option<&str>) -> Result<Verified, Busy> {
        let stored = stored.and_then(|text| {
            let hash = readable(text);
            if hash.is_none() {
                tracing::error!("a stored password hash cannot be read: its account cannot sign in");
            }
            hash
        });
        let matches = match self.argon2.verify_password(password.bytes(), stored.as_ref().unwrap_or(&self.dummy)) {
            Ok(()) => stored.is_some(),
            Err(argon2::password_hash::Error::PasswordInvalid) => false,
            Err(why) => return Err(failed(&why)),
        };
        let rehash = stored.filter(|stored| matches && !self.as_today(stored)).map(|_| self.hashed(password)).transpose()?;
        Ok(Verified { matches, rehash })
    }

    /// Whether a hash was made with today's parameters: they and the lengths are those of the dummy.
    fn as_today(&self, hash: &PasswordHash) -> bool {
        let length = |hash: &PasswordHash| (hash.salt.as_ref().map(|salt| salt.len()), hash.hash.as_ref().map(|hash| hash.len()));
        let same_kind = hash.algorithm == self.dummy.algorithm && hash.version == self.dummy.version;
        same_kind && Params::try_from(hash).ok() == Params::try_from(&self.dummy).ok() && length(hash) == length(&self.dummy)
    }
}

/// A stored hash, if it is one of Argon2 with all its parts, and asks for no more than it may.
fn readable(stored: &str) -> Option<PasswordHash> {
    let hash = PasswordHash::new(stored).ok()?;
    let params = Params::try_from(&hash).ok()?;
    Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    Version::try_from(hash.version?).ok()?;
    let bounded = params.m_cost() <= STORED_MEMORY_KIB_MAX && params.t_cost() <= STORED_PASSES_MAX && params.p_cost() <= STORED_LANES_MAX;
    let whole = hash.salt.is_some_and(|salt| salt.len() >= argon2::MIN_SALT_LEN) && hash.hash.is_some();
    (bounded && whole).then_some(hash)
}

fn failed(why: &argon2::password_hash::Error) -> Busy {
    tracing::error!(%why, "a password could not be hashed");
    Busy
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const KNOWN: &str = "correct horse battery";

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    fn weak() -> Params {
        Params::new(64, 1, 1, None).unwrap()
    }

    fn quick(at_once: usize, waiting_max: usize) -> Passwords {
        Passwords::with(weak(), at_once, waiting_max).unwrap()
    }

    async fn check(passwords: &Passwords, typed: &str, stored: &str, matches: bool, rehash: bool) {
        let verified = passwords.verify(password(typed), Some(stored.to_owned())).await.unwrap();
        assert_eq!((verified.matches, verified.rehash.is_some()), (matches, rehash), "{typed} against {stored}");
    }

    #[tokio::test]
    async fn a_hash_is_of_its_password_with_owasps_figures() {
        let passwords = Passwords::new(None).unwrap();
        let stored = passwords.hash(password(KNOWN)).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_ne!(stored, passwords.hash(password(KNOWN)).await.unwrap(), "each has its own salt");
        check(&passwords, KNOWN, &stored, true, false).await;
        check(&passwords, "Correct horse battery", &stored, false, false).await;
        check(&passwords, "", &stored, false, false).await;
    }

    #[tokio::test]
    async fn spellings_of_one_password_match() {
        let passwords = quick(1, 0);
        let stored = passwords.hash(password("ünder the bridge ﬁne")).await.unwrap();
        check(&passwords, "u\u{308}nder the bridge fine", &stored, true, false).await;
        check(&passwords, "under the bridge fine", &stored, false, false).await;
    }

    #[tokio::test]
    async fn other_parameters_are_brought_to_todays() {
        let passwords = quick(1, 0);
        let with = |algorithm, version, params| Argon2::new(algorithm, version, params).hash_password(KNOWN.as_bytes()).unwrap().to_string();
        for (algorithm, version, (memory, passes, lanes, length)) in [
            (Algorithm::Argon2id, Version::V0x13, (128, 1, 1, None)),
            (Algorithm::Argon2id, Version::V0x13, (64, 2, 1, None)),
            (Algorithm::Argon2id, Version::V0x13, (64, 1, 2, None)),
            (Algorithm::Argon2id, Version::V0x13, (64, 1, 1, Some(16))),
            (Algorithm::Argon2id, Version::V0x10, (64, 1, 1, None)),
            (Algorithm::Argon2i, Version::V0x13, (64, 1, 1, None)),
            (Algorithm::Argon2d, Version::V0x13, (64, 1, 1, None)),
        ] {
            let stored = with(algorithm, version, Params::new(memory, passes, lanes, length).unwrap());
            check(&passwords, "another one", &stored, false, false).await;
            let verified = passwords.verify(password(KNOWN), Some(stored.clone())).await.unwrap();
            assert!(verified.matches, "{stored}");
            check(&passwords, KNOWN, &verified.rehash.unwrap(), true, false).await;
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_never_matches() {
        let passwords = quick(1, 0);
        let good = passwords.hash(password(KNOWN)).await.unwrap();
        let salt_and_hash = good.splitn(5, '$').nth(4).unwrap();
        assert_eq!(passwords.verify(password(KNOWN), None).await, Ok(Verified { matches: false, rehash: None }));
        for stored in [
            String::new(),
            KNOWN.to_owned(),
            "$".to_owned(),
            "$argon2id".to_owned(),
            "$argon2id$v=19$m=64,t=1,p=1".to_owned(),
            good.rsplit_once('$').unwrap().0.to_owned(),
            good.replace("argon2id", "scrypt"),
            good.replace("v=19", "v=20"),
            good.replace("$v=19", ""),
            good.replace("t=1", "t=0"),
            good.replace("t=1", "t=x"),
            format!("$argon2id$v=19$m=4194304,t=1,p=1${salt_and_hash}"),
            format!("$argon2id$v=19$m=64,t=4294967295,p=1${salt_and_hash}"),
            format!("{good}$x"),
            format!("{good}=="),
            good[..good.len() / 2].to_owned(),
            passwords.0.dummy.to_string().replace("argon2id", "argon2x"),
        ] {
            check(&passwords, KNOWN, &stored, false, false).await;
        }
        check(&passwords, KNOWN, &good, true, false).await;
    }

    /// No more than a few wait, and whoever goes away makes room only when the work is done.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_comes_when_too_many_wait_is_sent_away() {
        let passwords = quick(1, 3);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let first = passwords.clone();
        let first = tokio::spawn(async move { first.in_turn(move |_| wait.recv().is_ok()).await });
        while passwords.0.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.hash(password(KNOWN)).await })
            })
            .collect();
        while passwords.0.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.hash(password(KNOWN)).await, Err(Busy));
        assert_eq!(passwords.verify(password(KNOWN), None).await, Err(Busy));
        waiting[0].abort(); // waited, and makes room
        while passwords.0.places.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        first.abort(); // is at work, and does not
        assert_eq!(passwords.0.turns.available_permits(), 0);
        go.send(()).unwrap();
        for (at, waiting) in waiting.into_iter().enumerate() {
            assert_eq!(waiting.await.is_ok_and(|hash| hash.is_ok()), at > 0);
        }
        assert!(passwords.hash(password(KNOWN)).await.is_ok());
        assert_eq!(passwords.0.places.available_permits(), 4);
    }

    /// As long for whom there is no account: by the fastest of a few, with room for what else the machine does.
    #[tokio::test]
    async fn an_unknown_account_takes_as_long() {
        let passwords = Passwords::new(NonZeroUsize::new(1)).unwrap();
        let stored = passwords.hash(password(KNOWN)).await.unwrap();
        let mut fastest = [Duration::MAX; 3];
        for _ in 0..50 {
            for (at, stored) in [Some(stored.clone()), None, Some("broken".to_owned())].into_iter().enumerate() {
                let started = Instant::now();
                assert!(!passwords.verify(password("another password"), stored).await.unwrap().matches);
                fastest[at] = fastest[at].min(started.elapsed());
            }
            if fastest.iter().max() < fastest.iter().min().map(|least| *least * 3 / 2).as_ref() {
                return;
            }
        }
        panic!("{fastest:?}");
    }
}
