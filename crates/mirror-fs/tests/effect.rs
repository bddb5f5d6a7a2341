//! Injected faults: a plan strikes what it names, where it says, and nothing else.
//!
//! The plan belongs to the process, so this is one test, which arms one plan after the other.

use std::time::{Duration, Instant};

use mirror_fs::effect::{arm, at, counts, name, part, read, Effect, ALL};
use rustix::io::Errno;
use serde_json::{json, Value};

fn plan(rules: Value) {
    arm(Some(read(&rules).expect("a plan")));
}

fn failures(effect: Effect, passes: usize) -> Vec<usize> {
    (1..=passes).filter(|_| at(effect).is_err()).collect()
}

#[test]
fn a_plan_strikes_what_it_names() {
    assert_eq!(at(Effect::Write), Ok(()), "nothing is armed");
    assert_eq!(part(Effect::Write, 100), Ok(100));

    let fail = json!({"fail": {"errno": 28}});
    plan(json!([{"effect": "write", "from": 3, "count": 2, "what": fail}]));
    assert_eq!(failures(Effect::Write, 6), [3, 4]);
    assert_eq!(failures(Effect::Sync, 6), [] as [usize; 0]);
    assert_eq!(counts()["struck"], json!([2]));
    assert_eq!(counts()["passes"], json!({"write": 6, "sync": 6}));

    plan(json!([{"effect": "sync", "from": 2, "what": fail}]));
    assert_eq!(failures(Effect::Sync, 4), [2, 3, 4]);
    plan(json!([{"effect": "sync", "what": fail}]));
    assert_eq!(at(Effect::Sync), Err(Errno::NOSPC));

    plan(json!([{"effect": "write", "count": 1, "what": "half"}]));
    assert_eq!((part(Effect::Write, 100), part(Effect::Write, 100)), (Ok(50), Ok(100)));
    plan(json!([{"effect": "write", "what": "half"}]));
    assert_eq!(part(Effect::Write, 1), Ok(1), "or nothing would ever be done");

    let by_chance = |seed: u64| {
        plan(json!([{"effect": "read", "chance": 300, "seed": seed, "what": fail}]));
        failures(Effect::Read, 1000)
    };
    let (first, again, other) = (by_chance(1), by_chance(1), by_chance(2));
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!((200..400).contains(&first.len()), "{}", first.len());

    plan(json!([{"effect": "send", "what": "hang"}]));
    let hanging = std::thread::spawn(|| at(Effect::Send));
    let until = Instant::now() + Duration::from_secs(10);
    while counts()["hanging"] != 1 && Instant::now() < until {
        std::thread::yield_now();
    }
    assert!(!hanging.is_finished());
    arm(None);
    assert_eq!(hanging.join().expect("no panic"), Ok(()));

    mistakes_are_named();
}

fn mistakes_are_named() {
    for (plan, named) in [
        (json!([{"effect": "fly", "what": "kill"}]), "fly"),
        (json!([{"effect": "write"}]), "what"),
        (json!([{"effect": "write", "what": "sing"}]), "sing"),
        (json!([{"effect": "write", "what": "kill", "nth": 3}]), "nth"),
        (json!({"effect": "write", "what": "kill"}), "faults"),
    ] {
        let text = read(&plan).expect_err("a mistake");
        assert!(text.contains(named), "{text}");
    }
    for effect in ALL {
        let written = json!([{"effect": name(*effect), "what": "kill"}]);
        assert!(read(&written).is_ok(), "{effect:?} is written {}", name(*effect));
    }
}
