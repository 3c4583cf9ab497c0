//! A model of the merge rules, and scripted worlds that must come out as it says.
//!
//! * `tables`: random tables, as SQL and as data; `domains`: what goes into them; `values`: what SQLite takes
//!   for the same
//! * `script`, `generate`: what happens in a world, as data that a seed makes and a person can read
//! * `merge`, `rules`: the model, which shares no code with the product's merge
//! * `play`: a script in a world of real files, compared with the model after every version
//! * `references`: scripts with foreign keys, of which only the outcome is checked
//! * `run`: one seed from beginning to end, and a shorter script for one that fails

mod domains;
pub mod generate;
pub mod merge;
pub mod play;
pub mod references;
pub mod rules;
pub mod run;
pub mod script;
pub mod tables;
pub mod values;
