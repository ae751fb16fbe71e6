//! Lending seats between levels while some level lacks them.
//! Rules: upstream's `updateBorrowingLocked` and `computeConcurrencyAllocation`. Upstream adjusts every ten seconds for ever;
//! here a task does it from the first request that finds no room until nobody lacks anything.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::config::Config;
use crate::server::Inner;

/// Upstream's `borrowingAdjustmentPeriod`.
const PERIOD: Duration = Duration::from_secs(10);
/// How much of the past counts. Upstream's `seatDemandSmoothingCoefficient`.
const SMOOTHING: f64 = 0.977;

/// Starts the task.
pub fn start(server: &Arc<Inner>) {
    let (weak, stop, clock) = (
        Arc::downgrade(server),
        server.stop.clone(),
        server.registry.clock().clone(),
    );
    tokio::spawn(async move {
        let mut smoothed: HashMap<String, f64> = HashMap::new();
        loop {
            tokio::select! {
                () = clock.sleep(PERIOD) => {}
                () = stop.cancelled() => return,
            }
            let Some(server) = weak.upgrade() else { return };
            let flow = &server.flow_control;
            let Some(config) = flow.config.load_full() else {
                return;
            };
            let pressed = flow.pressed.swap(false, Ordering::SeqCst);
            adjust(&config, &mut smoothed);
            if !pressed && config.levels.values().all(|level| level.waiting() == 0) {
                at_rest(&config);
                flow.lending.store(false, Ordering::SeqCst);
                return;
            }
        }
    });
}

/// What one level that can be limited needs.
#[derive(Debug, Clone, Copy)]
struct Need {
    low: f64,
    high: f64,
    target: f64,
}

/// As upstream's levels are before any demand is known.
pub fn at_rest(config: &Config) {
    allot(config, |_| (0, 0.0));
}

fn adjust(config: &Config, smoothed: &mut HashMap<String, f64>) {
    let mut demand = HashMap::new();
    for (name, level) in &config.levels {
        let peak = level.take_peak();
        let envelope = f64::from(peak);
        let past = smoothed.entry(name.clone()).or_default();
        *past = envelope.max(SMOOTHING * *past + (1.0 - SMOOTHING) * envelope);
        demand.insert(name.as_str(), (peak, *past));
    }
    allot(config, |name| demand.get(name).copied().unwrap_or_default());
}

/// `demand` gives a level's peak and its smoothed demand.
fn allot(config: &Config, demand: impl Fn(&str) -> (u32, f64)) {
    let mut remaining = i64::from(config.nominal_sum);
    let (mut levels, mut needs) = (Vec::new(), Vec::new());
    let (mut min_sum, mut low_sum) = (0, 0);
    for (name, level) in &config.levels {
        let (peak, smoothed) = demand(name);
        let limits = level.limits();
        if level.exempt() {
            let seats = limits.min.max(peak);
            level.set_current(seats);
            remaining -= i64::from(seats);
            continue;
        }
        let low = limits.min.max(limits.nominal.min(peak));
        min_sum += i64::from(limits.min);
        low_sum += i64::from(low);
        needs.push(Need {
            low: f64::from(low),
            high: f64::from(limits.max),
            target: smoothed.max(f64::from(low)),
        });
        levels.push((level, limits));
    }
    let shares = if remaining > low_sum {
        share(f64::from(config.nominal_sum), &needs)
    } else {
        let part = if remaining <= min_sum || low_sum == min_sum {
            0.0
        } else {
            (remaining - min_sum) as f64 / (low_sum - min_sum) as f64
        };
        let of = |(need, (_, limits)): (&Need, &(_, super::level::Limits))| {
            let min = f64::from(limits.min);
            min + (need.low - min) * part
        };
        needs.iter().zip(&levels).map(of).collect()
    };
    for ((level, _), seats) in levels.iter().zip(shares) {
        level.set_current(seats.round() as u32);
    }
}

/// Shares out `sum` in proportion to the targets, within each one's bounds.
fn share(sum: f64, needs: &[Need]) -> Vec<f64> {
    const HALVINGS: usize = 60;
    let at = |scale: f64| {
        let of = |n: &Need| (n.target.max(0.001) * scale).clamp(n.low, n.high.max(n.low));
        needs.iter().map(of).collect::<Vec<f64>>()
    };
    let (mut below, mut above) = (0.0, 1e9);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(below, above);
        if at(middle).iter().sum::<f64>() < sum {
            below = middle;
        } else {
            above = middle;
        }
    }
    at(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_goes_to_who_needs_it() {
        let need = |low, high, target| Need { low, high, target };
        let got = share(100.0, &[need(10.0, 100.0, 10.0), need(25.0, 200.0, 90.0)]);
        assert!(
            (got[0] - 10.0).abs() < 0.01 && (got[1] - 90.0).abs() < 0.01,
            "{got:?}"
        );
        let bounded = share(100.0, &[need(10.0, 40.0, 90.0), need(25.0, 200.0, 25.0)]);
        assert!(
            (bounded[0] - 40.0).abs() < 0.01 && (bounded[1] - 60.0).abs() < 0.01,
            "{bounded:?}"
        );
    }
}
