//! The window against a naive model: a plain list that is searched.

use mirror_core::window::{Kind, Window};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Push { sync: bool, bytes: usize, gap: u64 },
    Acknowledge(u64),
    AcknowledgeSome(u64, usize),
    Synced(u64),
    TakeAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<bool>(), 0..9000usize, 1..3u64)
            .prop_map(|(sync, bytes, gap)| Step::Push { sync, bytes, gap }),
        2 => (0..60u64).prop_map(Step::Acknowledge),
        1 => (0..60u64, 0..3usize).prop_map(|(up_to, n)| Step::AcknowledgeSome(up_to, n)),
        3 => (0..60u64).prop_map(Step::Synced),
        1 => Just(Step::TakeAll),
    ];
    prop::collection::vec(step, 0..60)
}

/// (sequence, is a sync, bytes); the item is the sequence times ten.
type Model = Vec<(u64, bool, usize)>;

fn ordered_up_to(model: &Model, up_to: u64, most: usize) -> Vec<u64> {
    let ordered = model.iter().filter(|(sequence, sync, _)| !sync && *sequence <= up_to);
    ordered.map(|(sequence, ..)| *sequence).take(most).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_does_what_a_plain_list_would(steps in steps(), applied in 0..60u64) {
        let mut window = Window::default();
        let mut model: Model = Vec::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Push { sync, bytes, gap } => {
                    next += gap;
                    let kind = if sync { Kind::Sync } else { Kind::Ordered };
                    window.push(next, kind, bytes, next * 10);
                    model.push((next, sync, bytes));
                }
                Step::Acknowledge(up_to) | Step::AcknowledgeSome(up_to, _) => {
                    let most = match step {
                        Step::AcknowledgeSome(_, most) => most,
                        _ => usize::MAX,
                    };
                    let expected = ordered_up_to(&model, up_to, most);
                    let got: Vec<(u64, u64)> = window.acknowledged(up_to).take(most).collect();
                    let items: Vec<(u64, u64)> = expected.iter().map(|s| (*s, s * 10)).collect();
                    prop_assert_eq!(got, items);
                    model.retain(|(sequence, ..)| !expected.contains(sequence));
                }
                Step::Synced(sequence) => {
                    let expected = model.iter().any(|(s, sync, _)| *s == sequence && *sync);
                    prop_assert_eq!(window.synced(sequence), expected.then_some(sequence * 10));
                    model.retain(|(s, sync, _)| !(*s == sequence && *sync));
                }
                Step::TakeAll => {
                    let expected: Vec<(u64, u64)> = model.iter().map(|m| (m.0, m.0 * 10)).collect();
                    prop_assert_eq!(window.take_all(), expected);
                    model.clear();
                    next = 0;
                }
            }
            prop_assert_eq!(window.len(), model.len());
            prop_assert_eq!(window.is_empty(), model.is_empty());
            prop_assert_eq!(window.bytes(), model.iter().map(|m| m.2).sum::<usize>());
            let listed: Vec<(u64, bool)> =
                window.iter().map(|(sequence, kind, _)| (sequence, kind == Kind::Sync)).collect();
            let expected: Vec<(u64, bool)> = model.iter().map(|m| (m.0, m.1)).collect();
            prop_assert_eq!(listed, expected);
        }
        let again: Vec<u64> = window.unanswered(applied).map(|(sequence, ..)| sequence).collect();
        let expected: Vec<u64> =
            model.iter().filter(|m| m.0 > applied || m.1).map(|m| m.0).collect();
        prop_assert_eq!(again, expected);
    }
}

#[test]
fn what_the_peer_can_truthfully_say() {
    let mut window = Window::default();
    assert!(window.is_plausible(0));
    assert!(!window.is_plausible(1), "nothing was sent yet");
    for sequence in 1..=5 {
        window.push(sequence, Kind::Ordered, 1, ());
    }
    assert_eq!(window.acknowledged(3).count(), 3);
    assert!(!window.is_plausible(2), "it had said 3");
    assert!(window.is_plausible(3) && window.is_plausible(5));
    assert!(!window.is_plausible(6), "that was never sent");
}

#[test]
fn a_sync_holds_back_nothing_and_is_not_held_back() {
    let mut window = Window::default();
    window.push(1, Kind::Sync, 0, "sync");
    window.push(2, Kind::Ordered, 0, "write");
    assert_eq!(window.acknowledged(2).collect::<Vec<_>>(), [(2, "write")]);
    assert_eq!(window.len(), 1, "the sync still waits for its own answer");
    assert_eq!(window.synced(1), Some("sync"));
    assert_eq!(window.synced(1), None);
}

#[test]
#[should_panic(expected = "sequences grow")]
fn a_sequence_is_used_once() {
    let mut window = Window::default();
    window.push(2, Kind::Ordered, 0, ());
    window.push(2, Kind::Sync, 0, ());
}
