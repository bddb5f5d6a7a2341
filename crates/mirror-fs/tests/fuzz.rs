//! Whatever comes from outside: a decoder takes it or names the reason. It never panics, never
//! reserves memory by a length it was told, and what it took is written as it was read.
//!
//! `TWOFOLD_FUZZ` is the number of inputs for each decoder, `TWOFOLD_FUZZ_SEED` where to begin.

mod mutation;

use kernel_fuse::Request;
use mirror_core::doubt::{decode_list, encode_list, Item, List, What};
use mirror_core::generation::{Generation, LastRole};
use mirror_core::wire::{self, Frame};
use mirror_core::{disk, tree_identity};
use mirror_fs::{config, control, effect, generation_json};
use mutation::{fuzz, Random};
use serde_json::json;

const VECTORS: &str = include_str!("../../../tests/vectors/mirror_wire.txt");
const GENERATION: &str = include_str!("../../../tests/vectors/generation.txt");

const REQUESTS: &str = include_str!("../../../tests/vectors/fuse_requests.txt");

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

fn frames() -> Vec<Vec<u8>> {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines.map(|line| hex(line.split_whitespace().nth(1).unwrap())).collect()
}

fn encode(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match frame {
        Frame::Operation(sequence, operation) => {
            wire::encode_operation(*sequence, operation, &mut out);
        }
        Frame::Report(report) => wire::encode_report(report, &mut out),
        Frame::Hello(hello) => wire::encode_hello(hello, &mut out),
        Frame::Welcome(welcome) => wire::encode_welcome(welcome, &mut out),
        Frame::Doubt(part) => wire::encode_doubt(part, &mut out),
    }
    out
}

fn reason(text: String) -> Result<bool, String> {
    match text.trim().is_empty() {
        true => Err("refused without a reason".into()),
        false => Ok(false),
    }
}

fn frame(input: &[u8]) -> Result<bool, String> {
    let _ = wire::frame_len(input);
    let frame = match wire::decode_frame(input) {
        Ok(frame) => frame,
        Err(error) => return reason(error.to_string()),
    };
    let bytes = encode(&frame);
    match wire::decode_frame(&bytes) {
        Ok(again) if again == frame => Ok(true),
        other => Err(format!("{frame:?} is read back as {other:?}")),
    }
}

/// Three times of four the header says the length that the body has.
fn right_length(random: &mut Random, input: &mut [u8]) {
    if input.len() >= wire::HEADER_BYTES && random.below(4) > 0 {
        let length = (input.len() - wire::HEADER_BYTES) as u32;
        input[8..12].copy_from_slice(&length.to_le_bytes());
    }
}

/// Three times of four the checksum is that of what is there.
fn right_checksum(random: &mut Random, input: &mut Vec<u8>) {
    let last = input.windows(6).rposition(|window| window == b"crc32 ");
    if let (Some(last), true) = (last, random.below(4) > 0) {
        input.truncate(last);
        let checksum = disk::crc32(input);
        input.extend_from_slice(format!("crc32 {checksum:08x}\n").as_bytes());
    }
}

fn nothing(_: &mut Random, _: &mut Vec<u8>) {}

/// The vectors of one half of the format: what goes forth, or what comes back.
fn of(wanted: impl Fn(&Frame<'_>) -> bool) -> Vec<Vec<u8>> {
    let fits = |bytes: &Vec<u8>| wanted(&wire::decode_frame(bytes).expect("a vector"));
    frames().into_iter().filter(fits).collect()
}

#[test]
fn fuzz_operations() {
    fuzz(
        "operations",
        &of(|f| matches!(f, Frame::Operation(..))),
        64,
        |r, i| right_length(r, i),
        frame,
    );
}

#[test]
fn fuzz_reports() {
    fuzz("reports", &of(|f| matches!(f, Frame::Report(_))), 64, |r, i| right_length(r, i), frame);
}

#[test]
fn fuzz_handshake() {
    let handshake = of(|f| matches!(f, Frame::Hello(_) | Frame::Welcome(_) | Frame::Doubt(_)));
    fuzz("handshake", &handshake, 64, |r, i| right_length(r, i), frame);
}

#[test]
fn fuzz_requests_of_the_kernel() {
    let lines = REQUESTS.lines().filter(|line| !line.starts_with(['#', ' ']));
    let real: Vec<_> = lines.map(|line| hex(line.split_once(' ').unwrap().1)).collect();
    let length = |random: &mut Random, input: &mut Vec<u8>| {
        if input.len() >= 4 && random.below(4) > 0 {
            let length = input.len() as u32;
            input[..4].copy_from_slice(&length.to_ne_bytes());
        }
    };
    fuzz("requests of the kernel", &real, 64, length, |input| {
        let _ = Request::read(input, u64::MAX); // with all that can be agreed on
        match Request::read(input, 0) {
            Ok(_) => Ok(true),
            Err(malformed) => reason(malformed.what.to_owned()),
        }
    });
}

#[test]
fn fuzz_what_is_in_doubt() {
    let item = |path: &[u8], what| Item { tree: 1, path: path.to_vec(), what };
    let real = [
        vec![item(b"a/b", What::Name), item(b"", What::File { zones: vec![], others: true })],
        vec![item(b"image", What::File { zones: vec![(0, 4), (9, u32::MAX)], others: false })],
    ];
    let real = real
        .map(|items| encode_list(&List { base: 7, heard: 5, told: vec![1, 5], items }).unwrap());
    fuzz("what is in doubt", &real, 64, nothing, |input| match decode_list(input) {
        Ok(list) if encode_list(&list).as_deref() == Some(input) => Ok(true),
        Ok(list) => Err(format!("{list:?} is written otherwise")),
        Err(error) => reason(error.to_string()),
    });
}

#[test]
fn fuzz_generation_record() {
    let fork = Generation::first(7, 1).fork(u64::MAX);
    let real = [GENERATION.into(), disk::encode_generation(&fork)];
    fuzz("generation record", &real, 64, right_checksum, |input| {
        match disk::decode_generation(input) {
            Ok(generation) if disk::encode_generation(&generation) == input => Ok(true),
            Ok(generation) => Err(format!("{generation:?} is written otherwise")),
            Err(error) => reason(error.to_string()),
        }
    });
}

#[test]
fn fuzz_record_of_directories() {
    let tree = |path: &[u8], identity: &str| tree_identity::TreeIdentity {
        path: path.to_vec(),
        identity: identity.to_owned(),
    };
    let real = [
        tree_identity::encode(&[tree(b"/srv/files", "ef53:1a2b:02000000")]),
        tree_identity::encode(&[tree(b"/srv/a\xff \\b\n", "1:0:ff"), tree(b"/x", "2:2:2")]),
    ];
    fuzz("record of directories", &real, 64, right_checksum, |input| {
        match tree_identity::decode(input) {
            Ok(trees) if tree_identity::encode(&trees) == input => Ok(true),
            Ok(trees) => Err(format!("{trees:?} is written otherwise")),
            Err(error) => reason(error.to_string()),
        }
    });
}

#[test]
fn fuzz_control_requests() {
    let mine = Generation { role: LastRole::Primary, ..Generation::first(9, 3) };
    let real: Vec<Vec<u8>> = [
        json!({"id": 1, "command": "status"}),
        json!({"id": "x", "command": "become_primary", "epoch": 3, "alone": true, "force": false}),
        json!({"id": 1, "command": "become_secondary", "epoch": 3, "follow": false}),
        json!({"id": null, "command": "stop", "abort": true}),
        json!({"id": 1, "command": "reconcile", "theirs": generation_json::to_json(&mine)}),
        json!({"id": 1, "command": "faults", "plan": [{"effect": "write", "what": "kill"}]}),
    ]
    .iter()
    .map(|request| request.to_string().into_bytes())
    .collect();
    fuzz("control requests", &real, 400, nothing, |input| match control::parse(input).1 {
        Ok(_) => Ok(true),
        Err(refusal) => reason(refusal.text),
    });
}

#[test]
fn fuzz_configuration() {
    let page = include_str!("../../../docs/internals/interfaces.md");
    let from = page.find("{\"module\": \"files\", \"cluster\"").expect("the page has the example");
    let end = from + page[from..].find("```").expect("the example ends");
    let real = [page[from..end].replace("9f0c...uuid", "9f0c").into_bytes()];
    fuzz("configuration", &real, 400, nothing, |input| {
        match config::parse(&String::from_utf8_lossy(input)) {
            Ok(_) => Ok(true),
            Err(error) => reason(error.to_string()),
        }
    });
}

#[test]
fn fuzz_plans_of_faults() {
    let real: Vec<Vec<u8>> = [
        json!([{"effect": "write", "from": 3, "count": 1, "what": {"fail": {"errno": 28}}}]),
        json!([{"effect": "sync", "chance": 10, "seed": 4, "what": {"slow": {"ms": 5}}}]),
    ]
    .iter()
    .map(|plan| plan.to_string().into_bytes())
    .collect();
    fuzz("plans of faults", &real, 400, nothing, |input| {
        let Ok(plan) = serde_json::from_slice(input) else { return Ok(false) };
        match effect::read(&plan) {
            Ok(_) => Ok(true),
            Err(text) => reason(text),
        }
    });
}
