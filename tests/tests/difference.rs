//! Reseeds that fetch only the rows that differ, without daemons and sockets: what they bring, and what they cost.
//!
//! * `bring`: whatever the key and wherever the row, the device has the hub's rows afterwards, its own on top
//! * `cost`: bytes on the wire, and what a cut link costs
//! * `hostile`: answers that are damaged, and questions that ask for too much
//! * `scene`: a hub's file and a device's for these tests

#[path = "difference/bring.rs"]
mod bring;
#[path = "difference/cost.rs"]
mod cost;
#[path = "difference/hostile.rs"]
mod hostile;
#[path = "difference/scene.rs"]
mod scene;
