//! Patterns of file names: `*` is any text, `?` any one sign; letters are as they are.

/// True when the whole name fits the pattern.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut read) = (0, 0);
    // Where to go on when a star has to take one sign more.
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, read));
                at += 1;
            }
            Some(sign) if *sign == '?' || Some(sign) == name.get(read) => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((after, taken)) = star else { return false };
                star = Some((after, taken + 1));
                (at, read) = (after, taken + 1);
            }
        }
    }
    pattern[at.min(pattern.len())..].iter().all(|sign| *sign == '*')
}

/// Names of files that somebody still writes, and hidden ones: never taken, whatever the patterns say.
pub(super) fn is_unfinished(name: &str) -> bool {
    const ENDS: [&str; 6] = [".part", ".partial", ".tmp", ".filepart", ".crdownload", "~"];
    let lower = name.to_ascii_lowercase();
    name.starts_with('.') || ENDS.iter().any(|end| lower.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_fit_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.part", false),
            ("scan-??.csv", "scan-07.csv", true),
            ("scan-??.csv", "scan-7.csv", false),
            ("a*b*c", "a--b-b--c", true),
            ("a*b*c", "a--b-b--d", false),
            ("*", "", true),
            ("", "a", false),
            ("größe?", "größen", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_still_written_is_known_by_its_name() {
        for name in [".hidden.csv", "a.csv.part", "a.csv.TMP", "a.csv~", "a.csv.filepart"] {
            assert!(is_unfinished(name), "{name}");
        }
        assert!(!is_unfinished("a.csv") && !is_unfinished("part.csv"));
    }
}
