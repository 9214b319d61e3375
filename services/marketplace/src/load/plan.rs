//! What a run is made of, drawn from its seed: ids in a range of its own, and what each transaction is. Sends nothing.

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::tally::Measure;

/// Products of each seller.
pub const PRODUCTS: u64 = 10;
/// Ids of one run: fewer than these many sellers, and customers.
pub const IDS: u64 = 1_000_000;
/// Ranges of ids that runs draw from; the highest id is exact in every JSON reader.
const RANGES: u64 = 1_000_000_000;
const _: () = assert!(IDS * (RANGES + 2) < 1 << 53);

/// Which sellers and products are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Skew {
    /// all alike
    #[default]
    Uniform,
    /// the first much more often than the last: the n-th with a weight of 1/n
    Zipf,
}

/// The mix of the benchmark *Online Marketplace*, in hundredths.
const MIX: [(Measure, u32); 5] = [(Measure::Session, 30), (Measure::Dashboard, 5), (Measure::Price, 3), (Measure::Replacement, 2), (Measure::Delivery, 60)];

/// Chooses by weight.
struct Picker {
    /// sums of the weights so far
    sums: Vec<f64>,
}

impl Picker {
    fn new(count: u64, skew: Skew) -> Self {
        let weight = |rank: u32| if skew == Skew::Zipf { 1.0 / f64::from(rank) } else { 1.0 };
        let mut sum = 0.0;
        let mut sums = vec![];
        for rank in 1..=u32::try_from(count).unwrap_or(u32::MAX) {
            sum += weight(rank);
            sums.push(sum);
        }
        Self { sums }
    }

    /// From 0.
    fn pick(&self, random: &mut StdRng) -> usize {
        let at = random.random_range(0.0..self.sums.last().copied().unwrap_or(1.0));
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len().saturating_sub(1))
    }
}

/// A run.
pub struct Plan {
    /// the same seed gives the same plan
    pub seed: u64,
    /// names the run: idempotency keys and references carry it
    pub run: String,
    /// ids lie behind this
    base: u64,
    /// how many sellers
    pub sellers: u64,
    /// how many customers
    pub customers: u64,
    seller: Picker,
    product: Picker,
}

impl Plan {
    /// Of this seed.
    pub fn new(seed: u64, sellers: u64, customers: u64, skew: Skew) -> Self {
        let digest = blake3::hash(&seed.to_le_bytes());
        let (mut number, run) = ([0; 8], format!("r{}", &digest.to_hex()[..12]));
        number.copy_from_slice(&digest.as_bytes()[8..16]);
        let base = IDS * (1 + u64::from_le_bytes(number) % RANGES);
        Self { seed, run, base, sellers, customers, seller: Picker::new(sellers, skew), product: Picker::new(PRODUCTS, skew) }
    }

    /// The seller in this place, from 0.
    pub fn seller(&self, at: usize) -> u64 {
        self.base + 1 + at as u64
    }

    /// The customer in this place, from 0.
    pub fn customer(&self, at: usize) -> u64 {
        self.base + 1 + at as u64
    }

    /// The randomness of one transaction, whatever the others draw.
    pub fn random(&self, transaction: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ (transaction + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// What a transaction does.
    pub fn kind(&self, random: &mut StdRng) -> Measure {
        let mut at = random.random_range(0..MIX.iter().map(|(_, share)| share).sum());
        for (kind, share) in MIX {
            if at < share {
                return kind;
            }
            at -= share;
        }
        Measure::Delivery
    }

    /// A seller's place.
    pub fn pick_seller(&self, random: &mut StdRng) -> usize {
        self.seller.pick(random)
    }

    /// A product's place among all: ten of each seller.
    pub fn pick_product(&self, random: &mut StdRng) -> usize {
        let seller = self.seller.pick(random);
        seller * usize::try_from(PRODUCTS).unwrap_or(1) + self.product.pick(random)
    }
}

#[cfg(test)]
mod tests {
    use super::{Plan, Skew};
    use crate::load::tally::Measure;

    #[test]
    fn a_seed_gives_the_same_plan_and_another_seed_other_ids() {
        let (one, same, other) = (Plan::new(7, 10, 100, Skew::Zipf), Plan::new(7, 10, 100, Skew::Zipf), Plan::new(8, 10, 100, Skew::Zipf));
        assert_eq!((one.base, &one.run), (same.base, &same.run));
        assert_ne!(one.base, other.base);
        assert_eq!(one.pick_product(&mut one.random(3)), same.pick_product(&mut same.random(3)));
    }

    #[test]
    fn the_mix_and_the_skew_are_what_they_say() {
        let mut first = [0_u32; 2];
        for (at, skew) in [Skew::Uniform, Skew::Zipf].into_iter().enumerate() {
            let plan = Plan::new(1, 10, 10, skew);
            first[at] = (0..10_000).filter(|number| plan.pick_seller(&mut plan.random(*number)) == 0).count() as u32;
        }
        assert!((900..1_100).contains(&first[0]), "{first:?}");
        assert!((3_200..3_600).contains(&first[1]), "{first:?}"); // 1 / (1 + 1/2 + … + 1/10) = 0.341
        let plan = Plan::new(1, 10, 10, Skew::Uniform);
        let sessions = (0..10_000).filter(|number| plan.kind(&mut plan.random(*number)) == Measure::Session).count();
        assert!((2_800..3_200).contains(&sessions), "{sessions}");
    }
}
