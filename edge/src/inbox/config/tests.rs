//! The example is a configuration with every key, and what is wrong is named.

use super::*;

const EXAMPLE: &str = include_str!("../../../../deploy/inbox.toml");

fn wrong(text: &str) -> String {
    Config::parse(text, Path::new("/edge")).unwrap_err()
}

#[test]
fn the_example_is_read_and_shows_every_key() {
    let config = Config::parse(EXAMPLE, Path::new("/edge")).unwrap();
    assert_eq!(config.folder, Path::new("/edge/inbox"));
    assert_eq!(config.mapping("packed-0001.csv").unwrap().target, Target::Count(Kind::Packaged));
    assert!(config.mapping("other.csv").is_none());
    for key in [
        "folder",
        "settle_s",
        "rescan_s",
        "equal_files",
        "name",
        "count",
        "table",
        "confirmed",
        "format",
        "delimiter",
        "header",
        "columns",
        "constants",
        "lookup",
        "by",
        "give",
        "machine",
        "bag",
        "direct",
    ] {
        assert!(EXAMPLE.contains(key), "{key}");
    }
}

#[test]
fn defaults_are_those_that_the_example_names() {
    let config = Config::empty(Path::new("/edge"));
    assert_eq!((config.settle, config.rescan), (Duration::from_secs(1), Duration::from_secs(10)));
    assert!(!config.equal_files && config.folder == Path::new("/edge/inbox"));
}

#[test]
fn what_cannot_be_is_said_with_the_key() {
    for (text, reason) in [
        ("settle = 1", "unknown field `settle`"),
        ("settle_s = 0", "`settle_s` takes seconds"),
        ("rescan_s = nan", "`rescan_s` takes seconds"),
        ("[[file]]\nname = \"*\"", "either `count` or `table`"),
        ("[[file]]\nname = \"*\"\ncount = \"bag\"\ntable = \"t\"", "either `count` or `table`"),
        ("[[file]]\nname = \"*\"\ntable = \"_sync_state\"", "one of the program's"),
        (
            "[[file]]\nname = \"*\"\ncount = \"bag\"\ncolumns = { bagg = \"Bag\" }",
            "no field `bagg`, but employee",
        ),
        ("[[file]]\nname = \"*\"\ntable = \"t\"\nheader = false", "the number of its column"),
        ("[[file]]\nname = \"*\"\ntable = \"t\"\ncolumns = { a = 0 }", "numbered from 1"),
        ("[[file]]\nname = \"*\"\ntable = \"t\"\ndelimiter = \"::\"", "one sign"),
        ("[[file]]\nname = \"*\"\ntable = \"t\"\nconstants = { a = [1] }", "a constant is"),
        (
            "[[file]]\nname = \"*\"\ntable = \"t\"\nlookup.a = { table = \"sqlite_schema\", by = [\"a\"], give = \"b\" }",
            "a lookup needs",
        ),
    ] {
        let said = wrong(text);
        assert!(said.contains(reason), "{text}: {said}");
    }
}
