//! The certificate of the page: its files can be used as they are now, and it does not end soon.
//!
//! Looked at in the files and not in the daemon, which goes on with what it had when new files cannot be used.

use super::{Check, State};
use crate::backup::calendar::{DAY, utc};
use crate::config::HttpTls;
use crate::folder::Folder;
use crate::http;
use tt_protocol::span::span;

/// A certificate should be renewed before so much of it is left: one part in so many, and never more than some days.
const LEFT_SHARE: i64 = 6;
const LEFT_MAX: i64 = 10 * DAY;

/// The check, at `now` in seconds since 1970.
pub(crate) fn https(folder: &Folder, settings: &HttpTls, now: i64) -> Check {
    let (mut found, mut fine) = (Vec::new(), "the certificate can be used".to_owned());
    match http::life(folder.path(), settings) {
        // What cannot be read is named below.
        Err(_) | Ok(None) => {}
        Ok(Some(life)) => match judged(life, now) {
            Some(what) => found.push((State::Warning, what)),
            None => fine = format!("the certificate is good until {}", utc(life.1)),
        },
    }
    if let Err(error) = http::fit(folder.path(), settings) {
        let what =
            format!("{error}; a running hub goes on with the files that it had, one that starts does not");
        found.push((State::Warning, what));
    }
    Check::of("https", found, fine)
}

/// What is wrong with a certificate that begins and ends at these times.
fn judged((begins, ends): (i64, i64), now: i64) -> Option<String> {
    if now < begins {
        let what = "the page's certificate begins only at";
        return Some(format!(
            "{what} {}: browsers refuse it until then, or this clock is wrong",
            utc(begins)
        ));
    }
    if now >= ends {
        let ago = span(now - ends);
        return Some(format!("the page's certificate ended {ago} ago: browsers refuse it; renew its files"));
    }
    let left = ends - now;
    (left < LEFT_MAX.min((ends - begins) / LEFT_SHARE)).then(|| {
        format!("the page's certificate ends in {}: renew its files, the hub takes them over", span(left))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_in_time_however_long_it_lasts() {
        let said = |life: (i64, i64), now: i64| judged(life, now);
        let quarter = (0, 90 * DAY);
        assert_eq!(said(quarter, 79 * DAY), None);
        assert!(said(quarter, 81 * DAY).unwrap().contains("ends in 9 days"));
        assert!(said(quarter, 92 * DAY).unwrap().contains("ended 2 days ago"), "it is over");
        assert!(said(quarter, -DAY).unwrap().contains("begins only at 1970-01-01"));
        let week = (0, 6 * DAY);
        assert_eq!(said(week, 4 * DAY), None, "a short one is renewed later");
        assert!(said(week, 5 * DAY + 1).is_some());
    }
}
