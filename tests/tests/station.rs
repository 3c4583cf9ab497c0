//! The station page's server over real HTTP, before real daemons and files of two ages of the program.
//!
//! * `http`: one request and its answer, on a plain socket
//! * `once`: a double post, a lost answer and `kill -9` count once
//! * `rows`: the rows are those that the program writes, corrections and voids included
//! * `door`: strangers' pages, wrong hosts, hostile input and wrong tokens get nothing in
//! * `hub`: what the page says of the hub is so, and the metrics say it too

#[path = "station/door.rs"]
mod door;
#[path = "station/http.rs"]
mod http;
#[path = "station/hub.rs"]
mod hub;
#[path = "station/once.rs"]
mod once;
#[path = "station/rows.rs"]
mod rows;
#[path = "end_to_end/warehouse.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod warehouse;
