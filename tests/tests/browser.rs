//! Pages in a real browser, headless Chromium, against real hubs and devices.
//!
//! * `accessible`: nothing that keeps a person out, and nothing that a large site makes unusable
//! * `operator`: the operator's page: live, by mouse and by keyboard, on a phone
//! * `pictures`: what the guides show of the pages
//! * `station`: a person counts at the station page: with a scanner, offline, in a hurry, in Spanish, on a phone
//!
//! Without chromedriver they are skipped, which each says; in CI they fail.

#[path = "browser/accessible.rs"]
mod accessible;
#[path = "station/http.rs"]
#[expect(dead_code, reason = "pages ask for most things themselves")]
mod http;
#[path = "browser/operator.rs"]
mod operator;
#[path = "browser/pictures.rs"]
mod pictures;
#[path = "browser/station.rs"]
mod station;
#[path = "end_to_end/warehouse.rs"]
#[expect(dead_code, reason = "pages need less of a warehouse than daemons do")]
mod warehouse;
