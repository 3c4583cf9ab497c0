//! Tables are compared with the hub's, and what capture missed is found and put right.
//!
//! * `found`: what is found, in both directions, and who wins
//! * `cost`: what a compare costs on the link and at the hub
//! * `doctor`: `tt-edge doctor`, as a person or a script reads it
//! * `life`: worlds for these tests

#[path = "audit/cost.rs"]
mod cost;
#[path = "audit/doctor.rs"]
mod doctor;
#[path = "audit/found.rs"]
mod found;
#[path = "audit/life.rs"]
mod life;
