//! Pages in a real browser, headless Chromium, against real hubs and devices.
//!
//! * `operator`: the operator's page: live, by mouse and by keyboard, on a phone
//!
//! Without chromedriver they are skipped, which each says; in CI they fail.

#[path = "browser/operator.rs"]
mod operator;
#[path = "end_to_end/warehouse.rs"]
#[expect(dead_code, reason = "pages need less of a warehouse than daemons do")]
mod warehouse;
