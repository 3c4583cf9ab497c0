//! The snapshots that devices take in place of feeds: whole ones, and the rows that differ, over links that are cut
//! after any answer.

use super::World;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tt_edge::engine::Fetch;
use tt_edge::store::Seed;
use tt_edge::store::difference;
use tt_hub::store::difference::{Answerer, Compared};
use tt_hub::store::snapshot::{self, Snapshot};
use tt_migrations::progress::Unwatched;
use tt_protocol::number::Millis;

/// One snapshot in this many is fetched whole.
const WHOLE_EVERY: u64 = 4;
/// Each link of a device lasts for so many answers more than the one before: some are cut in the middle, and all
/// devices come to an end.
const LASTS_LONGER: u64 = 4;

/// A snapshot of which a device fetches the rows that differ, perhaps on several links.
pub(super) struct UnderWay {
    made: Snapshot,
    whole: PathBuf,
    head: PathBuf,
    rows: PathBuf,
    compared: Arc<Compared>,
    links: u64,
}

impl World {
    /// The snapshot that a device asked for comes, and is written into its file. False when it asked for none.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub(super) fn bring_snapshot(&mut self, edge: usize) -> bool {
        let Some(fetch) = self.edges[edge].fetch.take() else { return false };
        if self.hub.is_none() {
            return false;
        }
        self.files += 1;
        if self.edges[edge].under_way.is_none() && self.files.is_multiple_of(WHOLE_EVERY) {
            self.bring_whole(edge, fetch);
        } else {
            self.bring_rows(edge, fetch);
        }
        true
    }

    fn bring_whole(&mut self, edge: usize, Fetch { epoch, at_least, order }: Fetch) {
        let path = self.new_path("seed");
        let made = snapshot::write(&self.hub_node.path, &path).expect("a snapshot");
        assert!(made.epoch == epoch && made.version >= at_least, "{made:?} for {epoch}, {at_least}");
        self.write_seed(edge, &Seed { path: path.clone(), rows: None, epoch, order });
        std::fs::remove_file(path).expect("it is there");
    }

    fn bring_rows(&mut self, edge: usize, fetch: Fetch) {
        let begun = self.edges[edge].under_way.take();
        let fits = |begun: &UnderWay| begun.made.epoch == fetch.epoch && begun.made.version >= fetch.at_least;
        let mut under_way = begun.filter(fits).unwrap_or_else(|| self.begin(fetch));
        let Fetch { epoch, order, .. } = fetch;
        let mut seed = Seed { path: under_way.head.clone(), rows: None, epoch, order };
        let now = Millis(self.now + self.edges[edge].clock_ms);
        let Some(engine) = &mut self.edges[edge].engine else { return };
        let Some(ground) = engine.make_ready(now, &seed).expect("the store answers") else { return };
        let answerer = Answerer::open(Arc::clone(&under_way.compared)).expect("the snapshot opens");
        let mut answers = self.files % 7 + under_way.links * LASTS_LONGER;
        under_way.links += 1;
        let mut ask = |question: &_| {
            answers = answers.checked_sub(1)?;
            Some(answerer.answer(question))
        };
        let paths = (under_way.head.as_path(), under_way.rows.as_path());
        let stop = AtomicBool::new(false);
        match difference::compare(paths, &ground, &mut ask, (&stop, &Unwatched))
            .expect("files can be written")
        {
            difference::Compared::Rows => {
                seed.rows = Some(under_way.rows.clone());
                self.by_rows += u64::from(self.write_seed(edge, &seed));
            }
            difference::Compared::Whole(_) => self.bring_whole(edge, fetch),
            difference::Compared::Cut => {
                self.edges[edge].under_way = Some(under_way);
                self.unlink(edge);
            }
            difference::Compared::Over => panic!("the snapshot is there"),
        }
    }

    fn begin(&mut self, fetch: Fetch) -> UnderWay {
        let [whole, head, rows] = ["whole", "head", "rows"].map(|what| self.new_path(what));
        let made = snapshot::write(&self.hub_node.path, &whole).expect("a snapshot");
        assert!(made.epoch == fetch.epoch && made.version >= fetch.at_least, "{made:?} for {fetch:?}");
        let identity = format!("e{}-v{}-{}", made.epoch, made.version, self.files);
        snapshot::write_head(&whole, &head, &identity).expect("a head");
        let marks = whole.with_extension("marks");
        std::fs::create_dir(&marks).expect("a folder");
        let compared = Arc::new(Compared::new(whole.clone(), marks));
        UnderWay { made, whole, head, rows, compared, links: 0 }
    }

    fn write_seed(&mut self, edge: usize, seed: &Seed) -> bool {
        let device = &mut self.edges[edge];
        let now = Millis(self.now + device.clock_ms);
        let Some(engine) = &mut device.engine else { return false };
        let written = engine.seed(now, seed).expect("the store answers");
        self.seeds += u64::from(written);
        written
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        for path in [&self.whole, &self.head, &self.rows] {
            // A comparison that ended early has no rows; the world's folder goes in any case.
            let _ = std::fs::remove_file(path);
        }
    }
}
