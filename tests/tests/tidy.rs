//! The rules of style that a program can check, over every file of the repository.
//!
//! Which crate may know which, what the pure core may not mention, how long files and functions may be,
//! how files open and what must not be left in them. Each test lists all its findings at once, as
//! `file:line: what`, and reads files only.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// Names that stop nothing from moving in.
const NAMES_BANNED: [&str; 6] = ["util", "common", "helpers", "types", "misc", "handlers"];

/// Which of our crates each of our crates may know. A crate has the last name of its folder.
const KNOWS: [(&str, &[&str]); 6] = [
    ("protocol", &[]),
    ("migrations", &["protocol"]),
    ("migrations/terminal", &["migrations"]),
    ("edge", &["protocol", "migrations", "terminal"]),
    ("hub", &["protocol", "migrations", "terminal"]),
    ("tests", &["protocol", "migrations", "edge", "hub"]),
];

/// What the code of a crate may not mention. Split where this file would otherwise find itself.
const MENTIONS_BANNED: [(&str, &[&str]); 2] = [
    (
        "protocol",
        &[
            "async fn",
            "rusqlite",
            "tokio",
            "getrandom",
            "std::time",
            "std::fs",
            "std::net",
            "std::thread",
            "std::process",
        ],
    ),
    (
        "migrations",
        &["async fn", "tokio", "getrandom", "std::net", "std::time", "std::thread", "std::process"],
    ),
];

const LEFTOVERS: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("dbg", "!")];

/// Paths of one particular machine: the project speaks of itself alone.
const WORKPLACES: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// A text file of the repository.
struct Source {
    /// Path from the root of the repository, with `/`.
    name: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.name.ends_with(".rs")
    }

    /// Lines with their numbers, comments left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(at, line)| (at + 1, line))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the repository").to_owned()
}

/// Every text file, in a fixed order. What git does not keep and made-up data are left out.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    found.sort_by(|a: &Source, b| a.name.cmp(&b.name));
    assert!(found.len() > 20, "the repository was not found");
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let hidden = name.starts_with('.') && ![".ci", ".cargo", ".github"].contains(&name.as_str());
            if !hidden && !["target", "fixtures", "node_modules", "__pycache__"].contains(&name.as_str()) {
                collect(&path, found);
            }
        } else if let (true, Ok(text)) = (name != "Cargo.lock", std::fs::read_to_string(&path)) {
            let inside =
                path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
            found.push(Source { name: inside, text });
        }
    }
}

/// Fails with every finding, or passes if there is none.
fn settle(findings: &[String]) {
    let mut list = String::new();
    for finding in findings {
        let _ = writeln!(list, "  {finding}");
    }
    assert!(findings.is_empty(), "{} findings:\n{list}", findings.len());
}

/// Findings of a check on every line of the files that it looks at.
fn lines(wanted: impl Fn(&Source) -> bool, check: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| wanted(source)) {
        for (at, line) in source.text.lines().enumerate() {
            if let Some(problem) = check(line) {
                findings.push(format!("{}:{}: {problem}", source.name, at + 1));
            }
        }
    }
    findings
}

/// Whether the text holds the word with no letter, digit or underscore beside it.
fn holds_word(text: &str, word: &str) -> bool {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_name)
            && (!word.ends_with(is_name) || !text[at + word.len()..].starts_with(is_name))
    })
}

#[test]
fn crates_know_only_what_stands_below_them() {
    let mut findings = Vec::new();
    let sources = sources();
    for (own, known) in KNOWS {
        let strangers: Vec<&str> = KNOWS
            .map(|(folder, _)| folder.rsplit('/').next().unwrap_or(folder))
            .into_iter()
            .filter(|name| !own.ends_with(name) && !known.contains(name))
            .collect();
        for source in sources.iter().filter(|source| source.name.starts_with(&format!("{own}/"))) {
            for (at, line) in source.code() {
                for stranger in &strangers {
                    let named = line.trim_start().starts_with(&format!("tt-{stranger}"));
                    if (source.name.ends_with("Cargo.toml") && named)
                        || holds_word(line, &format!("tt_{stranger}"))
                    {
                        findings.push(format!("{}:{at}: {own} may not know {stranger}", source.name));
                    }
                }
            }
        }
    }
    settle(&findings);
}

#[test]
fn the_core_mentions_no_io_no_clock_and_no_database() {
    let mut findings = Vec::new();
    let sources = sources();
    for (own, banned) in MENTIONS_BANNED {
        for source in sources.iter().filter(|source| source.name.starts_with(&format!("{own}/src/"))) {
            for (at, line) in source.code() {
                for word in banned.iter().filter(|word| mentions(line, word)) {
                    findings.push(format!("{}:{at}: {own} may not mention {word}", source.name));
                }
            }
        }
    }
    settle(&findings);
}

#[test]
fn only_command_lines_know_the_terminal() {
    let mut findings = Vec::new();
    let knows = |name: &str| {
        name.contains("/src/cli") || name.starts_with("migrations/terminal/") || !name.ends_with(".rs")
    };
    for source in sources().iter().filter(|source| !knows(&source.name)) {
        for (at, _) in source.code().filter(|(_, line)| holds_word(line, concat!("tt_", "terminal"))) {
            findings.push(format!("{}:{at}: what works says how far it is by `progress`", source.name));
        }
    }
    settle(&findings);
}

/// Also finds `std::time` in `use std::{fmt, time::Duration}`.
fn mentions(line: &str, word: &str) -> bool {
    let nested = word
        .strip_prefix("std::")
        .is_some_and(|module| line.split_once("std::{").is_some_and(|(_, list)| holds_word(list, module)));
    nested || holds_word(line, word)
}

#[test]
fn every_crate_follows_the_lints_of_the_workspace() {
    let missing = KNOWS.map(|(name, _)| format!("{name}/Cargo.toml")).into_iter().filter(|name| {
        let text = std::fs::read_to_string(root().join(name)).expect("a manifest");
        !text.contains("[lints]\nworkspace = true")
    });
    settle(&missing.map(|name| format!("{name}: [lints] workspace = true is missing")).collect::<Vec<_>>());
}

#[test]
fn every_rust_file_opens_with_what_it_is() {
    let silent = sources().into_iter().filter(|source| source.is_rust() && !source.text.starts_with("//! "));
    settle(&silent.map(|source| format!("{}:1: it does not open with //!", source.name)).collect::<Vec<_>>());
}

#[test]
fn no_file_is_too_long() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust()) {
        let count = source.text.lines().count();
        if count > FILE_LINES_MAX {
            findings.push(format!("{}: {count} lines, at most {FILE_LINES_MAX}", source.name));
        }
    }
    settle(&findings);
}

#[test]
fn no_function_is_too_long() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust()) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, name) in lines.iter().enumerate().filter_map(|(at, line)| Some((at, function(line)?))) {
            let count = function_lines(&lines[at..]);
            if count > FUNCTION_LINES_MAX {
                let what = format!("{name} has {count} lines, at most {FUNCTION_LINES_MAX}");
                findings.push(format!("{}:{}: {what}", source.name, at + 1));
            }
        }
    }
    settle(&findings);
}

/// The name of the function that a line begins to define.
fn function(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let qualifier = |word: &str| {
        ["const", "async", "unsafe", "extern", "\"C\""].contains(&word) || word.starts_with("pub")
    };
    if !before.split_whitespace().all(qualifier) {
        return None;
    }
    after
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .next()
        .filter(|name| !name.is_empty())
}

/// Lines of the function that begins with the first one. Formatted code closes it at its own indent.
fn function_lines(lines: &[&str]) -> usize {
    let first = lines.first().copied().unwrap_or_default();
    let indent = &first[..first.len() - first.trim_start().len()];
    let ends = |line: &str| {
        line.strip_prefix(indent)
            .is_some_and(|rest| rest == "}" || (!rest.starts_with(' ') && rest.ends_with(';')))
    };
    if first.ends_with('}') {
        return 1;
    }
    1 + lines.iter().position(|line| ends(line)).unwrap_or(lines.len())
}

#[test]
fn no_file_or_folder_has_a_name_that_says_nothing() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust()) {
        for part in source.name.trim_end_matches(".rs").split('/') {
            if NAMES_BANNED.contains(&part) || part == "mod" {
                findings.push(format!("{}: name it after the one noun or verb that it holds", source.name));
            }
        }
    }
    settle(&findings);
}

#[test]
fn nothing_is_left_over() {
    settle(&lines(
        |_| true,
        |line| {
            LEFTOVERS.iter().find(|word| holds_word(line, word)).map(|word| format!("{word} is left over"))
        },
    ));
}

#[test]
fn no_file_names_a_workplace() {
    settle(&lines(
        |_| true,
        |line| {
            WORKPLACES
                .iter()
                .find(|path| line.contains(**path))
                .map(|path| format!("{path} is one machine's path"))
        },
    ));
}

#[test]
fn numbered_sql_has_no_gaps() {
    let mut numbers = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("migrations/sql")).expect("migrations/sql") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        let (number, rest) = name.split_once('_').expect("0001_name.sql");
        assert!(number.len() == 4 && rest.ends_with(".sql"), "{name} is not 0001_name.sql");
        assert!(numbers.insert(number.parse::<usize>().expect("a number")), "{name}: its number is taken");
    }
    assert_eq!(numbers, (1..=numbers.len()).collect::<BTreeSet<_>>());
}

#[test]
fn the_checks_find_what_they_look_for() {
    assert!(holds_word("a = b; // x", "b") && !holds_word("ab b_c", "b"));
    assert!(
        mentions("use std::{fmt, time::Duration};", "std::time") && !mentions("use std::fmt;", "std::time")
    );
    assert_eq!(function("    pub(crate) async fn name<T>(a: T) {"), Some("name"));
    assert_eq!(function("// fn in a comment"), None);
    assert_eq!(function("let f: fn (u8) = g;"), None);
    assert_eq!(function_lines(&["fn a() {", "    if b {", "    }", "}", "x"]), 4);
    assert_eq!(function_lines(&["    fn a(", "        b: u8,", "    ) -> u8;", "    }"]), 3);
    assert_eq!(function_lines(&["fn a() {}", "}"]), 1);
}
