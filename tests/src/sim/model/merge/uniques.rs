//! Which of a changeset's rows go in, as far as unique columns allow it.

use super::super::values::{Row, natural_of, unique_of};
use super::{At, Candidate, Change, Model, Place, Rows, UnderWay};

impl Model {
    /// Puts in at once what nobody is in the way of. The others wait for what else is in their changeset.
    pub(super) fn settle(&mut self, node: usize, candidate: Option<Candidate>, under_way: &mut UnderWay) {
        let Some(candidate) = candidate else { return };
        let Candidate { change, plan, row, image } = &candidate;
        let is_twin = plan.is_none() && self.has_natural_twin(&self.hub, &change.place, row, &[]);
        let can_be = image.as_ref().is_none_or(|image| self.is_free(&change.place, image));
        if !is_twin && self.is_free(&change.place, row) {
            self.put_in(node, candidate, under_way);
        } else {
            let candidate = if can_be { self.back(candidate) } else { candidate };
            under_way.candidates.push(candidate);
        }
    }

    /// A row that was deleted, and whose values nobody has taken, is back before it is known whether the change that
    /// brought it back can be.
    fn back(&mut self, mut candidate: Candidate) -> Candidate {
        if let Some(image) = candidate.image.take() {
            let place = &candidate.change.place;
            self.trash.remove(place);
            self.list_columns("delete", place, &image, &[]);
            self.hub.insert(place.clone(), image);
        }
        candidate
    }

    fn put_in(&mut self, node: usize, candidate: Candidate, under_way: &mut UnderWay) {
        let Candidate { change, plan, row, image } = candidate;
        let place = &change.place;
        if let Some(image) = image {
            self.trash.remove(place);
            self.list_columns("delete", place, &image, &[]);
        }
        let is_new = plan.is_none();
        if let Some(plan) = plan {
            self.list_columns_if("column", place, &row, &plan.won);
            if plan.dated {
                self.stamp(place, (change.at, node));
            }
        }
        if is_new {
            self.takes_the_place(place, &row, under_way);
        }
        self.hub.insert(place.clone(), row);
    }

    /// Puts in what the unique columns allow: who clashes with a row that stays as it is stays out himself,
    /// and a new row that stays out is its twin, unless its device meant to have both.
    pub(super) fn put_all(&mut self, at: At, under_way: &mut UnderWay) {
        let mut candidates = std::mem::take(&mut under_way.candidates);
        let mut refused = Vec::new();
        loop {
            let mut rows = self.hub.clone();
            for candidate in &candidates {
                rows.insert(candidate.change.place.clone(), candidate.row.clone());
            }
            let clashes = |at: &usize| {
                let Candidate { change, plan, row, .. } = &candidates[*at];
                let later = &candidates[*at..];
                !self.is_free_in(&rows, &change.place, row, later)
                    || (plan.is_none() && self.has_natural_twin(&rows, &change.place, row, later))
            };
            let Some(first) = (0..candidates.len()).find(clashes) else {
                break;
            };
            refused.push(candidates.remove(first));
        }
        for candidate in candidates {
            self.put_in(at.node, candidate, under_way);
        }
        let (new, changed): (Vec<_>, Vec<_>) = refused.into_iter().partition(|one| one.plan.is_none());
        let mut stay = Vec::new();
        for Candidate { change, plan, image, .. } in changed {
            let place = &change.place;
            if let Some(image) = image {
                if !self.is_free(place, &image) {
                    self.hold_missing(at.node, &change, at.version);
                    continue;
                }
                self.trash.remove(place);
                self.list_columns("delete", place, &image, &[]);
                self.hub.insert(place.clone(), image);
            }
            let hub = self.hub[place].clone();
            self.list_columns("unique", place, &hub, &plan.unwrap_or_default().set);
            stay.push(change.place);
        }
        for candidate in new {
            let Candidate { change: Change { place, .. }, row, .. } = &candidate;
            match self.twin_of(place.0, row) {
                None => self.put_in(at.node, candidate, under_way),
                Some(twin) if stay.contains(&twin) => self.hold(at.node, "unique", place, row, at.version),
                Some(twin) => self.join("unique", place, row, &twin),
            }
        }
    }

    /// True when a row, or one that goes in before this one, has the same natural key, which no constraint
    /// keeps unique.
    fn has_natural_twin(&self, rows: &Rows, place: &Place, row: &Row, later: &[Candidate]) -> bool {
        let table = &self.tables[place.0];
        let own = natural_of(table, row).filter(|_| table.is_natural_only());
        own.is_some_and(|own| {
            rows.iter().any(|(other, there)| {
                other != place
                    && other.0 == place.0
                    && natural_of(table, there).as_ref() == Some(&own)
                    && !later.iter().any(|candidate| candidate.change.place == *other)
            })
        })
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
