//! A span of time as people say it.

/// Roughly: one number and its unit.
#[must_use]
pub fn span(seconds: i64) -> String {
    match seconds {
        ..0 => "0 s".to_owned(),
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_are_short() {
        let spans = [-5, 59, 600, 10_000, 200_000].map(span);
        assert_eq!(spans, ["0 s", "59 s", "10 min", "2 h", "2 days"]);
    }
}
