//! `tt-edge`: cuts what programs changed on a device, hands it to the hub, and applies what others did.
//!
//! `store` is the program's file, `engine` joins it to a session, `link` carries frames to the hub.

pub mod engine;
pub mod identity;
pub mod link;
pub mod store;
