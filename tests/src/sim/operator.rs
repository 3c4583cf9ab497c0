//! The operator at the end of a world: decides about all that is listed, by chance, while devices come and
//! go and programs are quiet.

use super::checks;
use super::random::Random;
use super::world::World;
use tt_hub::store::conflict::page::{Filter, Page, ids};
use tt_hub::store::decide::Decision;
use tt_protocol::value::Value;

/// Decides about every entry, and checks that every node has the same afterwards, soundly.
///
/// # Panics
/// When a promise is broken.
pub fn decides(world: &mut World, seed: u64) {
    let random = &mut Random::new(!seed);
    world.start_hub();
    let open = ids(world.program(0), &Filter::default(), Page::WHOLE).expect("reads");
    if open.is_empty() {
        return;
    }
    for id in &open {
        if random.once_in(4) {
            world.chance(random);
            world.start_hub();
        }
        let decision = match random.below(6) {
            0 => Decision::TakeWinner,
            1 => Decision::Dismiss,
            2 => Decision::Edit(vec![("id".to_owned(), Value::text("new"))]),
            _ => Decision::TakeLoser,
        };
        // What cannot be done is a reason, and leaves nothing behind: the checks would find it.
        let decided = world.decide(*id, &decision).is_ok();
        let again = world.decide(*id, &Decision::Dismiss).is_ok();
        assert!(decided != again, "entry {id} can be closed exactly once");
    }
    world.settle();
    checks::converged(world);
    checks::nothing_unsent(world);
    (0..4).for_each(|node| checks::consistent_cut(world, node));
    checks::sound(world, 0);
    if random.once_in(4) {
        checks::no_echo(world);
    }
}
