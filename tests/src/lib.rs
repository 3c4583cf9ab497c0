//! What the tests, the demo and the benchmarks share: simulated worlds, real processes, bad wireless.

pub mod bench;
pub mod browser;
pub mod demo;
pub mod inspect;
pub mod node;
pub mod relay;
pub mod sim;
pub mod soak;
pub mod writer;
pub mod wrong_clock;
