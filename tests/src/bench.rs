//! What `tt-bench` measures. Rows look like the warehouse's: submissions of 20 columns, not one repeated.

pub mod backlog;
pub mod backup;
pub mod figure;
pub mod idle;
pub mod inbox;
pub mod journal;
pub mod live;
pub mod reseed;
pub mod rows;
pub mod wire;
pub mod writes;
