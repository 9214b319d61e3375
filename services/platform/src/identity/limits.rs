//! How often a caller may ask: so many requests a second in the long run, and more of them at once. By account where it is known,
//! by address otherwise.

use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Callers that are counted; beyond them those that have not asked lately are forgotten.
const KNOWN_MAX: usize = 50_000;
/// Requests at once, in seconds' worth.
const BURST: u32 = 5;

/// How often a caller may ask.
pub struct Limits {
    accounts: Option<Limit>,
    addresses: Option<Limit>,
}

struct Limit {
    limiter: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
}

impl Limit {
    fn new(per_second: u32) -> Option<Self> {
        let (rate, burst) = (NonZeroU32::new(per_second)?, NonZeroU32::new(per_second.saturating_mul(BURST))?);
        Some(Self { limiter: RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst)), clock: DefaultClock::default() })
    }

    fn check(&self, caller: &str) -> Result<(), u64> {
        if self.limiter.len() > KNOWN_MAX {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&caller.to_owned()).map_err(|not_yet| not_yet.wait_time_from(self.clock.now()).as_secs() + 1)
    }
}

impl Limits {
    /// So many a second for each account, and for each address that has not signed in; 0 is no limit.
    pub fn new(account: u32, address: u32) -> Self {
        Self { accounts: Limit::new(account), addresses: Limit::new(address) }
    }

    /// An account asks. If it may not now: in how many seconds.
    pub fn account(&self, account: &str) -> Result<(), u64> {
        self.accounts.as_ref().map_or(Ok(()), |limit| limit.check(account))
    }

    /// Somebody asks who has not signed in.
    pub fn address(&self, address: &str) -> Result<(), u64> {
        // Whoever has an IPv6 address has 2^64 of them.
        let network = match address.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("{}/64", std::net::Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            Err(_) => address.to_owned(),
        };
        self.addresses.as_ref().map_or(Ok(()), |limit| limit.check(&network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_its_own_limit() {
        let limits = Limits::new(2, 1);
        assert!((0..10).all(|_| limits.account("anna").is_ok()));
        assert_eq!(limits.account("anna"), Err(1));
        assert_eq!((limits.account("bert"), limits.address("anna")), (Ok(()), Ok(())));
        let none = Limits::new(0, 0);
        assert!((0..1_000).all(|_| none.account("anna").is_ok() && none.address("anna").is_ok()));
    }
}
