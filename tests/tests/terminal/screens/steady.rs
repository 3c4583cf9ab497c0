//! Puts names in place of what differs from run to run: paths, times, sizes, numbers of processes, secrets, hashes.
//!
//! Everything else stays, so that a screen is still one. Columns that moved with such a value are two spaces apart.

/// Units that say what the number before them is.
const UNITS: [(&str, &str); 14] = [
    (" bytes", "SIZE"),
    (" KiB", "SIZE"),
    (" MiB", "SIZE"),
    (" GiB", "SIZE"),
    (" TiB", "SIZE"),
    (" kB", "SIZE"),
    (" MB", "SIZE"),
    (" GB", "SIZE"),
    (" TB", "SIZE"),
    (" s", "SPAN"),
    (" ms", "SPAN"),
    (" min", "SPAN"),
    (" h", "SPAN"),
    (" days", "SPAN"),
];

/// A number with so many digits is a time; with fewer, but so many, a size or an id.
const DIGITS_OF_TIMES: usize = 10;
const DIGITS_OF_SIZES: usize = 5;

/// Keys of JSON whose numbers are times, sizes, or what the machine has.
const KEYS: [&str; 9] = [
    "pid",
    "bytes",
    "database_bytes",
    "free_bytes",
    "freed_bytes",
    "clock_offset_ms",
    "oldest_unsent_s",
    "seconds",
    "last_sync",
];

/// The text without what differs. `root` is the folder of the story.
pub(crate) fn steady(text: &str, root: &str) -> String {
    let text = text.replace(root, "…");
    let mut out = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let words = words(&numbers(&json(&line[indent..])));
        out.push_str(&line[..indent]);
        out.push_str(&apart(words.trim_end()));
        out.push('\n');
    }
    out
}

/// A line of JSON whose key says that the number differs.
fn json(line: &str) -> String {
    let mut line = line.to_owned();
    for key in KEYS {
        let start = format!("\"{key}\":");
        let mut from = 0;
        while let Some(at) = line[from..].find(&start) {
            let begins = from + at + start.len();
            let value = line[begins..].trim_start();
            let begins = begins + (line[begins..].len() - value.len());
            let digits =
                value.find(|c: char| !c.is_ascii_digit() && c != '-' && c != '.').unwrap_or(value.len());
            if digits > 0 {
                line.replace_range(begins..begins + digits, &key.to_uppercase());
            }
            from = begins;
        }
    }
    line
}

/// Runs of letters, digits and what times and hashes are made of.
fn words(line: &str) -> String {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || "_-:.+".contains(c);
    let (mut out, mut word) = (String::new(), String::new());
    for c in line.chars().chain(['\n']) {
        if is_of_word(c) {
            word.push(c);
        } else {
            out.push_str(&named(&word));
            word.clear();
            out.push(c);
        }
    }
    out.truncate(out.len() - 1);
    out
}

fn named(word: &str) -> String {
    let Some(begins) = word.find(|c: char| !".:-".contains(c)) else { return word.to_owned() };
    let (before, bare) = word.split_at(begins);
    let (bare, rest) = bare.split_at(bare.trim_end_matches(['.', ':', '-']).len());
    let shape: String = bare.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let is_hash = |text: &str| text.len() >= 16 && text.chars().all(|c| c.is_ascii_hexdigit());
    let name = match shape.as_str() {
        "0000-00-00T00:00:00Z" | "0000-00-00T00:00:00" | "0000-00-00T00:00:00.000000Z" => "TIME",
        "0000-00-00T00Z" | "0000-00-00T00" => "HOUR",
        "0000-00-00" => "DAY",
        "00:00:00" => "CLOCK",
        "000.0.0.0:00000" | "000.0.0.0:0000" => "ADDRESS",
        _ if is_hash(bare) => "HASH",
        _ if bare.len() >= DIGITS_OF_TIMES && bare.chars().all(|c| c.is_ascii_digit()) => "MS",
        _ if bare.len() >= DIGITS_OF_SIZES && bare.chars().all(|c| c.is_ascii_digit()) => "SIZE",
        _ if bare.len() > 80 => "TOKEN",
        _ => return stamped(word),
    };
    format!("{before}{name}{rest}")
}

/// The time in the name of a file, or the hash in that of a stand-in.
fn stamped(word: &str) -> String {
    if let Some((device, hash)) = word.split_once("-rescued-") {
        let rest: String = hash.chars().skip_while(char::is_ascii_hexdigit).collect();
        return format!("{device}-rescued-HASH{rest}");
    }
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let bytes = word.len();
    for at in 0..bytes.saturating_sub(14) {
        let Some(part) = word.get(at..at + 15) else { continue };
        if digits(&part[..8]) && &part[8..9] == "_" && digits(&part[9..]) {
            return format!("{}STAMP{}", &word[..at], &word[at + 15..]);
        }
    }
    word.to_owned()
}

/// Numbers with a unit after them, with their signs, and those of processes.
fn numbers(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        out.push_str(before);
        let is_whole = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        let fits = |(unit, _): &&(&str, &str)| after.strip_prefix(unit).is_some_and(is_whole);
        let bare = before.trim_end_matches(['+', '-']);
        let is_bound = !bare.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        match UNITS.iter().find(fits).filter(|_| is_bound) {
            Some((unit, name)) => {
                out.truncate(out.len() - (before.len() - bare.len()));
                out.push_str(name);
                rest = &after[unit.len()..];
            }
            None => {
                let is_process = before.ends_with("pid ") || before.ends_with("process ");
                out.push_str(if is_process { "PID" } else { number });
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Columns two spaces apart, wherever they were.
fn apart(line: &str) -> String {
    let mut out = String::new();
    let mut spaces = 0;
    for c in line.chars() {
        if c == ' ' {
            spaces += 1;
            continue;
        }
        out.push_str(&" ".repeat(spaces.min(2)));
        spaces = 0;
        out.push(c);
    }
    out
}

#[test]
fn what_differs_has_a_name_and_the_rest_stays() {
    let cases = [
        ("daemon      running, pid 4711", "daemon  running, pid PID"),
        ("a_daily_20261127_125757: 118 bytes, 7 rows", "a_daily_STAMP: SIZE, 7 rows"),
        ("at 2026-11-27T12:57:57Z, 3.2 MiB of 1.0 GiB", "at TIME, SIZE of SIZE"),
        (
            "  \"bytes\": 118, \"rows\": 7, \"at\": 1795786017257",
            "  \"bytes\": BYTES, \"rows\": 7, \"at\": MS",
        ),
        ("packing-1  0123456789abcdef0123456789abcdef", "packing-1  HASH"),
        ("packing-2-rescued-737d9f48, -1 ms; 127.0.0.1:55385", "packing-2-rescued-HASH, SPAN; ADDRESS"),
        ("version 3 of epoch 1, 59 s ago, 309 rows", "version 3 of epoch 1, SPAN ago, 309 rows"),
    ];
    for (text, wanted) in cases {
        assert_eq!(steady(text, "/tmp/story"), format!("{wanted}\n"));
    }
}
