//! Exponential back-off with jitter.

use std::time::Duration;

use rand::RngExt;

/// Delays that grow by `factor` from `initial` to `max`, each lengthened by up to `jitter` of itself.
///
/// Jitter keeps many clients that failed together from coming back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
    next: Duration,
}

impl Backoff {
    /// Doubling from `initial` to `max`, with a tenth of jitter.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self {
            initial,
            max,
            factor: 2.0,
            jitter: 0.1,
            next: initial,
        }
    }

    pub fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    pub fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter.max(0.0);
        self
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let base = self.next.min(self.max);
        self.next = base.mul_f64(self.factor).min(self.max);
        jittered(base, self.jitter)
    }

    /// Back to the first delay, after a success.
    pub fn reset(&mut self) {
        self.next = self.initial;
    }
}

/// `base` lengthened by a random share of at most `jitter` of itself.
pub fn jittered(base: Duration, jitter: f64) -> Duration {
    if jitter <= 0.0 {
        return base;
    }
    base + base.mul_f64(rand::rng().random_range(0.0..jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_start_over() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, second * 5).with_jitter(0.0);
        let delays: Vec<u64> = (0..4).map(|_| backoff.next_delay().as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 5]);
        backoff.reset();
        assert_eq!(backoff.next_delay(), second);
    }

    #[test]
    fn jitter_only_lengthens() {
        let second = Duration::from_secs(1);
        for _ in 0..100 {
            let delay = jittered(second, 0.5);
            assert!(delay >= second && delay < second.mul_f64(1.5));
        }
    }
}
