//! What the tests, the demo and the benchmarks share: simulated worlds, and makers of real-looking data.

pub mod sim;
