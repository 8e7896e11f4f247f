//! Chance, from one seed: a stream of numbers for each purpose, so that one more draw in one place does not
//! change what happens in another.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The world's first state.
    World = 1,
    /// Sizes of new segments.
    Sizes = 2,
    /// How long moves take.
    Tasks = 3,
    /// When faults strike, and whom.
    Faults = 4,
    /// Made-up ids and partial answers.
    Answers = 5,
    /// Compaction.
    Compaction = 6,
    /// What becomes of moves that wait for a dead delegator.
    Delegators = 7,
}

/// A stream of numbers.
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of a purpose.
    pub fn new(seed: u64, purpose: Purpose) -> Stream {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(purpose as u64);
        Stream(generator)
    }

    /// A number in `0..bound`; 0 for an empty range.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.random_range(0..bound) }
    }

    /// A number in `low..high`; `low` for an empty range.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        if low < high { self.0.random_range(low..high) } else { low }
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability.clamp(0.0, 1.0))
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(usize::try_from(self.below(list.len() as u64)).unwrap_or(0))
    }

    /// A factor around 1 with a long tail upwards; `spread` is the deviation of its logarithm.
    pub fn factor(&mut self, spread: f64) -> f64 {
        // The mean of a log-normal lies above its median: shifted so that the mean is 1.
        match LogNormal::new(-spread * spread / 2.0, spread) {
            Ok(distribution) => distribution.sample(&mut self.0),
            Err(_) => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_do_not_mix() {
        let mut first = Stream::new(7, Purpose::Tasks);
        let mut again = Stream::new(7, Purpose::Tasks);
        let mut other = Stream::new(7, Purpose::Faults);
        let drawn: Vec<u64> = (0..8).map(|_| first.below(1000)).collect();
        assert_eq!(drawn, (0..8).map(|_| again.below(1000)).collect::<Vec<_>>());
        assert_ne!(drawn, (0..8).map(|_| other.below(1000)).collect::<Vec<_>>());
    }

    #[test]
    fn empty_ranges_are_no_panic() {
        let mut stream = Stream::new(7, Purpose::World);
        assert_eq!(stream.below(0), 0);
        assert_eq!(stream.pick::<u8>(&[]), None);
        assert!((stream.between(2.0, 2.0) - 2.0).abs() < f64::EPSILON);
        assert!((stream.factor(f64::NAN) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn factors_have_a_mean_of_one() {
        let mut stream = Stream::new(7, Purpose::Sizes);
        let mean = (0..10_000).map(|_| stream.factor(0.5)).sum::<f64>() / 10_000.0;
        assert!((0.95..1.05).contains(&mean), "{mean}");
    }
}
