//! Which of a changeset's rows go in, as far as unique columns allow it.

use super::super::values::{Row, unique_of};
use super::{Candidate, Model, Place, Rows};

impl Model {
    /// Puts in what the unique columns allow: who clashes with a row that stays as it is stays out himself.
    pub(super) fn put_all(&mut self, node: usize, mut candidates: Vec<Candidate>, version: u64) {
        let mut refused = Vec::new();
        loop {
            let mut rows = self.hub.clone();
            for candidate in &candidates {
                rows.insert(candidate.change.place.clone(), candidate.row.clone());
            }
            let clashes = |at: &usize| {
                let Candidate { change, row, .. } = &candidates[*at];
                !self.is_free_in(&rows, &change.place, row, &candidates[*at..])
            };
            let Some(first) = (0..candidates.len()).find(clashes) else {
                break;
            };
            refused.push(candidates.remove(first));
        }
        for Candidate { change, plan, row, image } in candidates {
            let place = &change.place;
            if let Some(image) = image {
                self.trash.remove(place);
                self.list_columns("delete", place, &image, &[]);
            }
            if let Some(plan) = plan {
                let won: Vec<_> = plan.won.clone();
                if !won.is_empty() {
                    self.list_columns("column", place, &row, &won);
                }
                if plan.dated {
                    self.stamp(place, (change.at, node));
                }
            }
            self.hub.insert(place.clone(), row);
        }
        for Candidate { change, plan, row, image } in refused {
            let place = &change.place;
            if let Some(image) = image {
                if !self.is_free(place, &image) {
                    self.hold_missing(node, &change, version);
                    continue;
                }
                self.trash.remove(place);
                self.list_columns("delete", place, &image, &[]);
                self.hub.insert(place.clone(), image);
            }
            match plan {
                Some(plan) => {
                    let hub = self.hub[place].clone();
                    self.list_columns("unique", place, &hub, &plan.set);
                }
                None => self.hold(node, "unique", place, &row, version),
            }
        }
    }

    /// True when no row has one of the row's unique values, those left aside that are about to get it.
    pub(super) fn is_free_in(&self, rows: &Rows, place: &Place, row: &Row, later: &[Candidate]) -> bool {
        let table = &self.tables[place.0];
        table.uniques.iter().all(|unique| {
            let Some(own) = unique_of(table, unique, row) else { return true };
            rows.iter().all(|(other, there)| {
                other == place
                    || other.0 != place.0
                    || unique_of(table, unique, there).as_ref() != Some(&own)
                    || later.iter().any(|candidate| {
                        let had = self.hub.get(other).and_then(|row| unique_of(table, unique, row));
                        candidate.change.place == *other && had.as_ref() != Some(&own)
                    })
            })
        })
    }

    pub(super) fn is_free(&self, place: &Place, row: &Row) -> bool {
        self.is_free_in(&self.hub, place, row, &[])
    }
}
