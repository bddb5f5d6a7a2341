//! Whose data is newer: the whole truth table over a small world, and the stories behind it.

use mirror_core::generation::{compare, Generation, LastRole, Relation, HISTORY_MAX};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn generation(current: u64, base: u64, history: &[u64]) -> Generation {
    Generation { current, base, history: history.to_vec(), ..Generation::default() }
}

/// Every record with numbers 0 to 4 and a history of at most two.
fn every_record() -> Vec<Generation> {
    let mut histories = vec![vec![]];
    for one in 1..=4 {
        histories.push(vec![one]);
        histories.extend((1..=4).map(|two| vec![one, two]));
    }
    let mut all = Vec::new();
    for current in 0..=4 {
        for base in 0..=4 {
            all.extend(histories.iter().map(|history| generation(current, base, history)));
        }
    }
    all
}

/// The table in the words of its page, with sets instead of the search of the code.
fn by_the_book(mine: &Generation, theirs: &Generation) -> Relation {
    let past = |g: &Generation| {
        let mut past: BTreeSet<u64> = g.history.iter().copied().collect();
        past.insert(g.base);
        past.remove(&0);
        past.remove(&g.current);
        past
    };
    let (my_past, their_past) = (past(mine), past(theirs));
    let blank = (mine.current == 0, theirs.current == 0);
    let descends = (my_past.contains(&theirs.current), their_past.contains(&mine.current));
    match (blank, descends) {
        ((true, true), _) => Relation::BothBlank,
        ((true, false), _) => Relation::MineBlank,
        ((false, true), _) => Relation::TheirsBlank,
        _ if mine.current == theirs.current => Relation::Equal,
        (_, (true, true)) => Relation::Diverged,
        (_, (true, false)) => Relation::MineNewer,
        (_, (false, true)) => Relation::TheirsNewer,
        _ if my_past.is_disjoint(&their_past) => Relation::Unrelated,
        _ => Relation::Diverged,
    }
}

#[test]
fn the_whole_table_holds_and_both_sides_agree() {
    let records = every_record();
    let mut seen = BTreeSet::new();
    for mine in &records {
        for theirs in &records {
            let relation = compare(mine, theirs);
            assert_eq!(relation, by_the_book(mine, theirs), "{mine:?} and {theirs:?}");
            assert_eq!(compare(theirs, mine), relation.mirrored(), "{mine:?} and {theirs:?}");
            seen.insert(relation.as_str());
        }
    }
    assert_eq!(seen.len(), Relation::ALL.len(), "the small world shows every relation: {seen:?}");
}

#[test]
fn flags_play_no_part_in_the_relation() {
    let mine = generation(2, 1, &[1]);
    let theirs = generation(1, 1, &[]);
    for bits in 0..16 {
        let bit = |n: u32| bits & (1 << n) != 0;
        let (clean, sole, sync_target, outdated) = (bit(0), bit(1), bit(2), bit(3));
        let role = LastRole::Secondary;
        let flagged =
            Generation { clean, sole, sync_target, outdated, role, epoch: bits, ..mine.clone() };
        assert_eq!(compare(&flagged, &theirs), Relation::MineNewer);
    }
}

fn pair() -> (Generation, Generation) {
    let a = Generation::first(1, 1);
    let b = Generation::default().adopt(&a);
    assert_eq!(compare(&a, &b), Relation::Equal);
    (a, b)
}

#[test]
fn who_wrote_nothing_alone_has_not_diverged() {
    let (a, b) = pair();
    let a = a.fork(2);
    assert_eq!(compare(&a, &b), Relation::MineNewer);
    // b was promoted alone too, but wrote nothing: it did not fork.
    let b = Generation { sole: true, role: LastRole::Primary, ..b };
    assert_eq!(compare(&a, &b), Relation::MineNewer);
    let b = b.adopt(&a);
    assert_eq!(compare(&a.shared(), &b), Relation::Equal);
}

#[test]
fn two_that_both_wrote_alone_have_diverged() {
    let (a, b) = pair();
    assert_eq!(compare(&a.fork(2), &b.fork(3)), Relation::Diverged);
}

#[test]
fn however_often_one_forks_alone_it_stays_newer() {
    let (a, b) = pair();
    let mut alone = a;
    for fresh in 100..200 {
        alone = alone.fork(fresh);
        assert!(alone.history.len() <= HISTORY_MAX);
        assert_eq!(compare(&alone, &b), Relation::MineNewer, "after the fork to {fresh}");
        assert_eq!(compare(&alone, &b.fork(3)), Relation::Diverged);
    }
}

#[test]
fn a_node_that_was_away_for_long_is_unrelated_rather_than_wrong() {
    // The history is bounded. What fell out of it on both sides is not guessed.
    let (a, away) = pair();
    let mut here = a;
    for fresh in 100..100 + 2 * HISTORY_MAX as u64 {
        here = here.fork(fresh).shared();
    }
    assert_eq!(compare(&here, &away), Relation::Unrelated);
}

#[test]
fn a_cut_resync_does_not_make_the_target_look_equal() {
    let (a, b) = pair();
    let a = a.fork(2);
    let in_flight = Generation { sync_target: true, ..b.clone() };
    assert_eq!(compare(&a, &in_flight), Relation::MineNewer);
    assert!(!in_flight.up_to_date() && !in_flight.may_serve_without_peer());
    let done = in_flight.adopt(&a);
    assert_eq!(compare(&a, &done), Relation::Equal);
    assert!(done.up_to_date());
}

#[test]
fn generations_of_two_clusters_are_unrelated() {
    assert_eq!(
        compare(&Generation::first(1, 1).fork(5), &Generation::first(2, 1).fork(6)),
        Relation::Unrelated
    );
}

#[test]
fn who_may_serve_without_its_peer() {
    for bits in 0..16 {
        let bit = |n: u32| bits & (1 << n) != 0;
        let (data, sole, sync_target, outdated) = (bit(0), bit(1), bit(2), bit(3));
        let current = u64::from(data);
        let node = Generation { current, sole, sync_target, outdated, ..Generation::default() };
        assert_eq!(node.up_to_date(), data && !sync_target && !outdated);
        assert_eq!(node.may_serve_without_peer(), data && !sync_target && !outdated && sole);
    }
}

#[test]
fn words_are_those_of_the_interface() {
    let page = include_str!("../../../docs/internals/interfaces.md");
    for relation in Relation::ALL {
        assert!(page.contains(&format!("`{}`", relation.as_str())), "{relation:?}");
    }
}

/// One step in the life of two nodes.
#[derive(Clone, Copy, Debug)]
enum Step {
    WriteAlone(bool),
    Resync(bool),
    CutResync(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        any::<bool>().prop_map(Step::WriteAlone),
        any::<bool>().prop_map(Step::Resync),
        any::<bool>().prop_map(Step::CutResync),
    ];
    prop::collection::vec(step, 0..=HISTORY_MAX)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Two nodes live through writes alone and resyncs; a model keeps, for each, the set of
    /// writes in
    /// its data. The relation must tell the truth about those sets.
    #[test]
    fn the_relation_tells_the_truth_about_the_data(steps in steps()) {
        let first = Generation::first(1, 1);
        let mut nodes = [first.clone(), first];
        let mut writes: [BTreeSet<u64>; 2] = Default::default();
        let mut fresh = 1;
        for step in steps {
            match step {
                Step::WriteAlone(second) => {
                    let who = usize::from(second);
                    fresh += 1;
                    nodes[who] = nodes[who].fork(fresh);
                    writes[who].insert(fresh);
                }
                Step::Resync(second) => {
                    let (from, to) = (usize::from(second), usize::from(!second));
                    nodes[to] = nodes[to].adopt(&nodes[from]);
                    nodes[from] = nodes[from].shared();
                    writes[to] = writes[from].clone();
                }
                Step::CutResync(second) => {
                    nodes[usize::from(second)].sync_target = true;
                }
            }
            let (mine, theirs) = (&writes[0], &writes[1]);
            let truth = match (mine.is_superset(theirs), mine.is_subset(theirs)) {
                (true, true) => Relation::Equal,
                (true, false) => Relation::MineNewer,
                (false, true) => Relation::TheirsNewer,
                (false, false) => Relation::Diverged,
            };
            prop_assert_eq!(compare(&nodes[0], &nodes[1]), truth, "{:?}", nodes);
        }
    }
}

#[test]
fn a_loser_stays_diverged_until_its_resync_has_ended() {
    let (a, b) = pair();
    let (winner, loser) = (a.fork(2), b.fork(3));
    // Its resync begins, is cut, begins again: what it alone has is still to be saved.
    let cut = Generation { sync_target: true, outdated: true, ..loser };
    assert_eq!(compare(&winner, &cut), Relation::Diverged);
    assert_eq!(compare(&winner.fork(4), &cut), Relation::Diverged);
    assert_eq!(compare(&winner, &cut.adopt(&winner)), Relation::Equal);
}

#[test]
fn a_stale_node_that_was_forced_to_serve_has_diverged() {
    let (a, b) = pair();
    let newer = a.fork(2);
    // Forced although the other had gone on: a fork of its own, from the same base.
    let forced = Generation { outdated: true, ..b }.fork(3);
    assert_eq!(compare(&newer, &forced), Relation::Diverged);
    // And a half copy that was forced is a version of its own too, not the old one.
    let half = Generation { sync_target: true, ..newer.fork(5) }.fork(6);
    assert_ne!(compare(&newer, &half), Relation::Equal);
}

#[test]
fn relations_have_numbers_that_come_back() {
    for relation in Relation::ALL {
        assert_eq!(Relation::from_number(relation as u8), Some(relation));
        assert_eq!(relation.mirrored().mirrored(), relation);
    }
    assert_eq!(Relation::from_number(Relation::ALL.len() as u8), None);
}

#[test]
fn who_went_on_alone_and_wrote_nothing_still_needs_a_number_of_its_own() {
    let shared = Generation::first(1, 1).shared();
    assert!(shared.must_fork());
    let alone = Generation { sole: true, ..shared };
    assert!(alone.must_fork(), "nothing was written alone yet: the other has this number too");
    let wrote = alone.fork(2);
    assert!(!wrote.must_fork());
    let adopted_there = Generation { sole: false, ..wrote };
    assert!(adopted_there.must_fork(), "a resync may have ended: the other may have this number");
}

#[test]
fn what_is_kept_never_makes_a_copy_up_to_date() {
    use mirror_core::generation::Worth;
    for flags in 0..16 {
        let generation = Generation {
            current: u64::from(flags & 1 != 0),
            sync_target: flags & 2 != 0,
            outdated: flags & 4 != 0,
            sole: flags & 8 != 0,
            ..Generation::default()
        };
        let (with, without) = (generation.worth(true), generation.worth(false));
        assert_eq!(with == Worth::UpToDate, generation.up_to_date(), "{generation:?}");
        assert_eq!(without == Worth::UpToDate, generation.up_to_date(), "{generation:?}");
        assert_eq!(with == without, without != Worth::Mixture, "{generation:?}");
    }
}

#[test]
fn a_copy_that_was_brought_back_and_served_has_diverged() {
    let old = Generation { current: 5, base: 5, history: vec![4], ..Generation::default() };
    let primary = Generation { sole: true, ..old.fork(6) };
    let target = Generation { sync_target: true, ..old };
    let served = Generation { sync_target: false, ..target.fork(7) };
    assert_eq!(compare(&served, &primary), Relation::Diverged);
}
