//! Ranges of sizes and costs. Sums and products that overflow are "unknown": the largest number.

/// Two to the 64th.
const END: f64 = 18_446_744_073_709_551_616.0;

/// Least and greatest size of a value, as `size()` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeEstimate {
    pub min: u64,
    pub max: u64,
}

/// Least and greatest cost of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CostEstimate {
    pub min: u64,
    pub max: u64,
}

fn scale(x: u64, factor: f64) -> u64 {
    let product = (x as f64 * factor).ceil();
    if product >= END { u64::MAX } else { product as u64 }
}

impl SizeEstimate {
    pub const UNKNOWN: Self = Self {
        min: 0,
        max: u64::MAX,
    };
    /// Nothing seen yet; the unit of [`Self::union`].
    pub(super) const NONE: Self = Self {
        min: u64::MAX,
        max: 0,
    };

    pub fn fixed(size: u64) -> Self {
        Self { min: size, max: size }
    }

    #[must_use]
    pub fn add(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    #[must_use]
    pub fn multiply(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// The cost of doing something that costs `factor` for each element.
    pub fn cost(self, factor: f64) -> CostEstimate {
        CostEstimate {
            min: scale(self.min, factor),
            max: scale(self.max, factor),
        }
    }

    /// The cost of doing something for each element.
    pub fn times(self, cost: CostEstimate) -> CostEstimate {
        CostEstimate {
            min: self.min.saturating_mul(cost.min),
            max: self.max.saturating_mul(cost.max),
        }
    }
}

impl CostEstimate {
    pub fn fixed(cost: u64) -> Self {
        Self { min: cost, max: cost }
    }

    #[must_use]
    pub fn add(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    #[must_use]
    pub fn multiply(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    #[must_use]
    pub(super) fn union(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    #[must_use]
    pub(super) fn scaled(self, factor: f64) -> Self {
        Self {
            min: scale(self.min, factor),
            max: scale(self.max, factor),
        }
    }
}
