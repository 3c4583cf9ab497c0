//! A measured figure: median and spread over several runs.

use std::time::{Duration, Instant};

/// The time that `work` takes.
pub fn time<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let done = work();
    (done, begin.elapsed())
}

/// Values of several runs.
#[derive(Clone, Debug, Default)]
pub struct Figure(pub(super) Vec<f64>);

impl Figure {
    /// Adds one run's value.
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// The value below which this share of the runs lies, 0 to 1; NaN without any.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1) as f64;
        let place = (last * share).round() as usize;
        self.0.get(place).copied().unwrap_or(f64::NAN)
    }

    /// The median.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:>9.2} (from {:.2} to {:.2})", self.median(), self.quantile(0.0), self.quantile(1.0))
    }
}

/// Prints one line: what, its figure, its unit.
pub fn print(what: &str, figure: &Figure, unit: &str) {
    println!("  {what:<58} {figure} {unit}");
}
