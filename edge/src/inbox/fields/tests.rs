//! Lines of all sorts, and the fields that they become.

use super::*;
use crate::inbox::config::Mapping;
use crate::inbox::lines::Lines;
use serde_json::json;

fn mapping(text: &str) -> Mapping {
    Mapping::parse(&format!("name = \"*\"\ntable = \"t\"\n{text}")).unwrap()
}

/// The fields of each line after the header, or why there are none.
fn read(mapping: &Mapping, name: &str, text: &[u8]) -> Vec<Result<Value, String>> {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(
        "CREATE TABLE people(id INTEGER PRIMARY KEY, badge INTEGER, name TEXT);
         INSERT INTO people(badge, name) VALUES (7, 'Ana'), (8, 'Bo'), (9, 'Cy'), (10, 'cy')",
    )
    .unwrap();
    let mut lines = Lines::new(text);
    let mut shape = Shape::new(mapping, mapping.format(name));
    if shape.wants_header() {
        shape.header(lines.next_filled().unwrap().unwrap()).unwrap();
    }
    let mut found = Vec::new();
    while let Some(line) = lines.next_filled().unwrap() {
        found.push(shape.fields(line, &conn).map(Value::Object).map_err(|unfit| unfit.to_string()));
    }
    found
}

#[test]
fn cells_are_found_by_the_header_and_an_empty_one_was_not_given() {
    let found = read(
        &mapping(""),
        "a.csv",
        b"\xEF\xBB\xBFa,\"b c\",,d\r\n1, two ,x,\"say \"\"so\"\", ok\"\r\n,,,4\r\n",
    );
    assert_eq!(
        found,
        [Ok(json!({ "a": "1", "b c": "two", "d": "say \"so\", ok" })), Ok(json!({ "d": "4" }))]
    );
}

#[test]
fn columns_are_named_numbered_made_up_and_looked_up() {
    let named = mapping(
        "delimiter = \";\"\ncolumns = { who = \"Badge\", n = \"N\" }\nconstants = { kind = \"x\", one = 1 }\n\
         lookup.who = { table = \"people\", by = [\"badge\", \"name\"], give = \"name\" }",
    );
    let found = read(&named, "a.csv", b"n;unused;BADGE\n5;;7\n6;;bo\n7;;11\n8;;cy\n");
    assert_eq!(found[0], Ok(json!({ "n": "5", "who": "Ana", "kind": "x", "one": 1 })));
    assert_eq!(found[1], Ok(json!({ "n": "6", "who": "Bo", "kind": "x", "one": 1 })));
    assert!(
        found[2].as_ref().unwrap_err().contains("no row of people has `11` as badge or name"),
        "{found:?}"
    );
    assert!(found[3].as_ref().unwrap_err().contains("several rows of people"), "{found:?}");
    let numbered = mapping("header = false\ndelimiter = \"tab\"\ncolumns = { a = 3, b = 1 }");
    let found = read(&numbered, "a.txt", b"x\ty\tz\nx\ty\n");
    assert_eq!(found[0], Ok(json!({ "a": "z", "b": "x" })));
    assert!(found[1].as_ref().unwrap_err().contains("2 cells, and 3"), "{found:?}");
}

#[test]
fn a_bad_line_is_named_and_the_next_one_is_read() {
    let found = read(&mapping(""), "a.csv", b"a,b\n1,\"open\n2,3,4\n5\n\xF1,1\nx\0,1\n6,7\n");
    let reasons = ["a quote is not closed", "3 cells, and 2", "1 cells, and 2", "not UTF-8", "not UTF-8"];
    for (line, reason) in found.iter().zip(reasons) {
        assert!(line.as_ref().unwrap_err().contains(reason), "{line:?} {reason}");
    }
    assert_eq!(found[5], Ok(json!({ "a": "6", "b": "7" })));
}

#[test]
fn json_lines_keep_their_kinds() {
    let text = b"{\"a\": 1, \"b\": null, \"c\": \"x\"}\nno\n[1]\n{\"a\": [1]}\n{\"a\": 1.5, \"d\": true}";
    let found = read(&mapping(""), "a.jsonl", text);
    assert_eq!(found[0], Ok(json!({ "a": 1, "b": null, "c": "x" })));
    for (at, reason) in [(1, "no JSON object"), (2, "no JSON object"), (3, "a is a list")] {
        assert!(found[at].as_ref().unwrap_err().contains(reason), "{found:?}");
    }
    assert_eq!(found[4], Ok(json!({ "a": 1.5, "d": true })));
    let renamed = mapping("columns = { z = \"a\" }");
    assert_eq!(read(&renamed, "a.ndjson", b"{\"a\": 1, \"b\": 2}\n"), [Ok(json!({ "z": 1 }))]);
}

#[test]
fn a_header_that_does_not_fit_says_what_it_has() {
    let mut lines = Lines::new(&b"x,y\n"[..]);
    let named = mapping("columns = { a = \"Alpha\" }");
    let strange = Shape::new(&named, Format::Csv).header(lines.next_filled().unwrap().unwrap()).unwrap_err();
    assert_eq!(strange.to_string(), "the header has no column `Alpha`, which a comes from; it has: x, y");
    let mut lines = Lines::new(&b"x,X\n"[..]);
    let strange =
        Shape::new(&mapping(""), Format::Csv).header(lines.next_filled().unwrap().unwrap()).unwrap_err();
    assert_eq!(strange.to_string(), "the header has the column `X` twice");
}
