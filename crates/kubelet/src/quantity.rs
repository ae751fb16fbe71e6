//! Resource quantities as numbers: milli-units and whole units, rounded up as upstream does.

use corten_meta::quantity::{Format, Quantity as Exact};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// A resource list of the API.
pub type Resources = BTreeMap<String, Quantity>;

/// Thousandths, rounded up; 0 for what is not a quantity.
pub fn milli(q: &Quantity) -> i64 {
    Exact::parse(&q.0).map_or(0, |q| q.milli_value())
}

/// Whole units, rounded up; 0 for what is not a quantity.
pub fn value(q: &Quantity) -> i64 {
    Exact::parse(&q.0).map_or(0, |q| q.value())
}

pub fn milli_of(list: Option<&Resources>, name: &str) -> Option<i64> {
    list?.get(name).map(milli)
}

pub fn value_of(list: Option<&Resources>, name: &str) -> Option<i64> {
    list?.get(name).map(value)
}

/// The sum, in the format of the first.
pub fn sum(a: &Quantity, b: &Quantity) -> Quantity {
    match (Exact::parse(&a.0), Exact::parse(&b.0)) {
        (Ok(x), Ok(y)) => Quantity(x.add(&y).canonical()),
        _ => a.clone(),
    }
}

/// The greater of the two.
pub fn max(a: &Quantity, b: &Quantity) -> Quantity {
    match (Exact::parse(&a.0), Exact::parse(&b.0)) {
        (Ok(x), Ok(y)) if y.nanos() > x.nanos() => b.clone(),
        _ => a.clone(),
    }
}

/// Bytes, as upstream prints memory.
pub fn bytes(bytes: i64) -> Quantity {
    Quantity(Exact::new(bytes, Format::BinarySi).canonical())
}

/// Milli-CPUs: `500m`, or whole CPUs without a unit.
pub fn cpu(milli: i64) -> Quantity {
    Quantity(Exact::from_milli(milli).canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_rounding() {
        let q = |s: &str| Quantity(s.into());
        assert_eq!(milli(&q("1.5")), 1500);
        assert_eq!(value(&q("64Mi")), 64 << 20);
        assert_eq!(value(&q("nonsense")), 0);
        assert_eq!(bytes(64 << 20), q("64Mi"));
        assert_eq!(cpu(1500), q("1500m"));
        assert_eq!(sum(&q("100m"), &q("1")), q("1100m"));
    }
}
