//! What operators are given beside the programs: guides, units, alert rules and the board fit the programs.
//!
//! * `commands`: every command of every guide is one that the programs take
//! * `alerts`: each alert rule fires when it should, and only then
//! * `numbers`: every number of the alert rules and the board is one that hub and device give
//! * `manager`: the daemons tell a service manager that they are ready, alive and stopping

#[path = "deploy/alerts.rs"]
mod alerts;
#[path = "deploy/commands.rs"]
mod commands;
#[path = "station/http.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod http;
#[path = "deploy/manager.rs"]
mod manager;
#[path = "deploy/numbers.rs"]
mod numbers;
#[path = "end_to_end/warehouse.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod warehouse;
