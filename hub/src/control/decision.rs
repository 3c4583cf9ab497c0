//! Decisions about the conflict list on their way between a command and the daemon.

use super::Reply;
use crate::store::StoreError;
use crate::store::decide::{DecideError, Decided, Decision};
use serde::{Deserialize, Serialize};
use tt_protocol::frame::{from_kept_bytes, to_bytes};

/// Decisions in one request, which are one commit: others must not wait long, and the answer is one line.
pub(crate) const DECISIONS_MAX: usize = 200;
/// Characters of a reason, and sentences that are told about one decision.
const REASON_CHARS_MAX: usize = 800;
const TOLD_MAX: usize = 4;

/// A decision on its way: in bytes, because JSON would not keep every value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wish(String);

impl Wish {
    pub(crate) fn new(decision: &Decision) -> Self {
        Self(data_encoding::BASE64.encode(&to_bytes(decision)))
    }

    fn read(&self) -> Option<Decision> {
        let bytes = data_encoding::BASE64.decode(self.0.as_bytes()).ok()?;
        from_kept_bytes(&bytes).ok()
    }
}

/// What became of one decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The entry is closed.
    Closed(Decided),
    /// It is as it was.
    Failed {
        /// Its number.
        id: i64,
        /// For a person.
        reason: String,
        /// Another decision could clear the way.
        again: bool,
    },
}

impl Outcome {
    /// The outcome for entry `id`. A reason of any length must not make the answer too long to be read.
    fn of(id: i64, outcome: Result<Decided, DecideError>) -> Self {
        match outcome {
            Ok(mut decided) => {
                decided.told.truncate(TOLD_MAX);
                decided.told.iter_mut().for_each(|told| shorten(told, REASON_CHARS_MAX / TOLD_MAX));
                Self::Closed(decided)
            }
            Err(error) => {
                let again = matches!(error, DecideError::Refused { .. });
                let mut reason = error.to_string();
                shorten(&mut reason, REASON_CHARS_MAX);
                Self::Failed { id, reason, again }
            }
        }
    }
}

fn shorten(text: &mut String, chars_max: usize) {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
        text.push('…');
    }
}

/// Decides about entries of the conflict list; `decide` is the engine's or the store's way.
pub(crate) fn decide(
    ids: &[i64],
    wish: &Wish,
    decide: impl FnOnce(&[i64], &Decision) -> Result<Vec<Result<Decided, DecideError>>, StoreError>,
) -> Result<Reply, StoreError> {
    let Some(decision) = wish.read() else {
        return Ok(Reply::Failed {
            reason: "the running hub does not know this decision: restart it".into(),
        });
    };
    let outcomes = decide(ids, &decision)?;
    let outcomes = ids.iter().zip(outcomes).map(|(id, outcome)| Outcome::of(*id, outcome)).collect();
    Ok(Reply::Decided { outcomes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tt_protocol::value::Value;

    #[test]
    fn a_decision_arrives_as_it_was() {
        let values = [Value::Real(0.1 + 0.2), Value::Text(vec![0xff]), Value::Blob(vec![0]), Value::Null];
        let decision = Decision::Edit(values.into_iter().map(|value| ("c".to_owned(), value)).collect());
        let line = serde_json::to_string(&Wish::new(&decision)).unwrap();
        assert_eq!(serde_json::from_str::<Wish>(&line).unwrap().read(), Some(decision));
        assert_eq!(Wish("AA".into()).read(), None);
    }

    #[test]
    fn an_answer_about_many_fits_into_a_line() {
        let refused = |id| DecideError::Refused { id, reason: "\u{1}".repeat(100_000) };
        let ids: Vec<i64> = (0..DECISIONS_MAX as i64).collect();
        let decide = |ids: &[i64], _: &Decision| Ok(ids.iter().map(|id| Err(refused(*id))).collect());
        let reply = decide_with(&ids, decide);
        assert!((serde_json::to_vec(&reply).unwrap().len() as u64) < crate::control::LINE_BYTES_MAX);
        let Reply::Decided { outcomes } = reply else { panic!("{reply:?}") };
        assert!(matches!(&outcomes[7], Outcome::Failed { id: 7, again: true, .. }));
    }

    fn decide_with(
        ids: &[i64],
        with: impl FnOnce(&[i64], &Decision) -> Result<Vec<Result<Decided, DecideError>>, StoreError>,
    ) -> Reply {
        decide(ids, &Wish::new(&Decision::Dismiss), with).unwrap()
    }
}
