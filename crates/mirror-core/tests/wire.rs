//! The replication format: what is written is read, what is not written by us is refused, and the
//! bytes of version 1 never change.

mod messages;

use messages::examples;
use mirror_core::message::{Entry, FileKind, Operation, ZoneData};
use mirror_core::units::FileId;
use mirror_core::wire::{self, Frame, HEADER_BYTES, MAX_BODY_BYTES, MAX_DATA_BYTES};
use proptest::prelude::*;

const VECTORS: &str = include_str!("../../../tests/vectors/mirror_wire.txt");

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

fn refusal(bytes: &[u8]) -> String {
    wire::decode_frame(bytes).expect_err("must be refused").to_string()
}

fn encoded(operation: &Operation<'_>) -> Vec<u8> {
    encode(&Frame::Operation(1, operation.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn operations_survive_the_wire(sample in messages::samples(), sequence in any::<u64>()) {
        let operation = sample.operation();
        prop_assert!(wire::fits(&operation));
        let frame = Frame::Operation(sequence, operation);
        let bytes = encode(&frame);
        prop_assert_eq!(wire::frame_len(&bytes).unwrap(), Some(bytes.len()));
        prop_assert_eq!(wire::decode_frame(&bytes).unwrap(), frame);
    }

    #[test]
    fn split_and_whole_are_the_same_bytes(sample in messages::samples()) {
        let operation = sample.operation();
        let mut split = Vec::from(*b"before");
        let data = wire::encode_operation_split(9, &operation, &mut split);
        split.extend_from_slice(data.unwrap_or_default());
        let mut whole = Vec::from(*b"before");
        wire::encode_operation(9, &operation, &mut whole);
        prop_assert_eq!(split, whole);
        let bulk = matches!(
            operation,
            Operation::Write { .. } | Operation::Zone { data: ZoneData::Bytes(_), .. }
        );
        prop_assert_eq!(data.is_some(), bulk);
    }

    #[test]
    fn reports_survive_the_wire(report in messages::reports()) {
        let frame = Frame::Report(report);
        let bytes = encode(&frame);
        prop_assert_eq!(wire::decode_frame(&bytes).unwrap(), frame);
    }

    #[test]
    fn handshakes_survive_the_wire(
        hello in messages::hellos(),
        welcome in messages::welcomes(),
    ) {
        for frame in [Frame::Hello(hello), Frame::Welcome(welcome)] {
            let bytes = encode(&frame);
            prop_assert_eq!(wire::decode_frame(&bytes).unwrap(), frame);
        }
    }

    #[test]
    fn a_stream_falls_into_its_frames(samples in prop::collection::vec(messages::samples(), 1..5)) {
        let frames: Vec<Vec<u8>> = samples.iter().map(|s| encoded(&s.operation())).collect();
        let stream = frames.concat();
        let mut rest = stream.as_slice();
        for frame in &frames {
            for short in [0, HEADER_BYTES - 1, frame.len() - 1] {
                prop_assert_eq!(wire::frame_len(&rest[..short]).unwrap(), None);
            }
            let length = wire::frame_len(rest).unwrap().unwrap();
            prop_assert_eq!(&rest[..length], frame.as_slice());
            rest = &rest[length..];
        }
    }

    #[test]
    fn a_cut_or_lengthened_body_is_refused(sample in messages::samples(), cut in any::<u16>()) {
        // Bulk data may have any length, so only what stands before it can be cut or lengthened.
        let operation = sample.operation();
        let mut bytes = Vec::new();
        if wire::encode_operation_split(1, &operation, &mut bytes).is_some() {
            set_body_bytes(&mut bytes);
        } else {
            let longer = [bytes.as_slice(), &[0]].concat();
            prop_assert!(wire::decode_frame(&with_body_bytes(longer)).is_err());
        }
        if bytes.len() > HEADER_BYTES {
            let end = HEADER_BYTES + usize::from(cut) % (bytes.len() - HEADER_BYTES);
            prop_assert!(wire::decode_frame(&with_body_bytes(bytes[..end].to_vec())).is_err());
        }
    }
}

fn set_body_bytes(frame: &mut [u8]) {
    let body = (frame.len() - HEADER_BYTES) as u32;
    frame[8..12].copy_from_slice(&body.to_le_bytes());
}

fn with_body_bytes(mut frame: Vec<u8>) -> Vec<u8> {
    set_body_bytes(&mut frame);
    frame
}

/// A small generator with a fixed seed: a failing run fails again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// A decoder that meets a hostile peer must neither panic nor accept what we would not write: what
/// it accepts, written again, gives the same bytes.
#[test]
fn a_million_mutated_frames_are_refused_or_exact() {
    let frames: Vec<Vec<u8>> = examples::all().into_iter().map(|(_, frame)| frame).collect();
    let mut random = Random(0x5eed_0000_0000_0001);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..1_000_000 {
        let mut bytes = frames[random.below(frames.len())].clone();
        if round % 8 == 0 {
            bytes.truncate(HEADER_BYTES);
            bytes.extend((0..random.below(80)).map(|_| 0).collect::<Vec<u8>>());
            let end = bytes.len();
            bytes[HEADER_BYTES..end].fill_with(|| random.next() as u8);
        }
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = random.next() as u8,
                1 => bytes[at] ^= 1 << random.below(8),
                2 => bytes[at] = [0, 1, 2, 0x7f, 0x80, 0xff][random.below(6)],
                _ if random.below(2) == 0 => bytes.truncate(at.max(HEADER_BYTES)),
                _ => bytes.insert(at, random.next() as u8),
            }
        }
        if round % 2 == 0 {
            set_body_bytes(&mut bytes);
        }
        let length = wire::frame_len(&bytes);
        match wire::decode_frame(&bytes) {
            Ok(frame) => {
                let length = length.expect("a header was read").expect("it is whole");
                assert_eq!(encode(&frame), &bytes[..length], "{frame:?}");
                accepted += 1;
            }
            Err(why) => {
                assert!(!why.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(accepted > 10_000 && refused > 10_000, "a weak test: {accepted} and {refused}");
}

#[test]
fn garbage_is_refused() {
    let mut random = Random(7);
    for _ in 0..100_000 {
        let bytes: Vec<u8> = (0..random.below(100)).map(|_| random.next() as u8).collect();
        assert!(wire::decode_frame(&bytes).is_err());
    }
}

#[test]
fn golden_vectors_are_what_we_write_and_read() {
    let examples = examples::all();
    let lines: Vec<&str> =
        VECTORS.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    assert_eq!(lines.len(), examples.len(), "one vector for each example");
    for (line, (name, frame)) in lines.iter().zip(examples) {
        let (vector_name, hex) = line.split_once(' ').expect("name and hex");
        assert_eq!(vector_name, name);
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
            .collect();
        assert_eq!(bytes, frame, "the format of `{name}` has changed: that is a new version");
        assert_eq!(encode(&wire::decode_frame(&bytes).expect(&name)), bytes);
    }
}

#[test]
#[ignore = "prints the vectors, to add a new one"]
fn print_vectors() {
    for (name, frame) in examples::all() {
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("{name} {hex}");
    }
}

#[test]
fn names_cannot_leave_their_directory() {
    let parent = FileId::root(0);
    let good = encoded(&Operation::Bind { id: FileId::new(0, 2), parent, name: b"ab" });
    for bad in [&b".."[..], b"/x", b"x/", b"a\0"] {
        let mut bytes = good.clone();
        let at = bytes.len() - 2;
        bytes[at..].copy_from_slice(bad);
        assert!(refusal(&bytes).starts_with("bind: name"), "{bad:?}");
    }
    let at = good.len() - 3;
    for (length, name) in [(0, &b""[..]), (1, b".")] {
        let bytes = with_body_bytes([&good[..at], &[length], name].concat());
        assert!(refusal(&bytes).contains("not the name of an entry"));
    }
    let entry = |name: &[u8]| Entry {
        name: name.to_vec(),
        id: FileId::new(0, 3),
        kind: FileKind::Regular,
        rdev: 0,
        target: vec![],
    };
    let listing = Operation::Entries { id: parent, entries: vec![entry(b"ok"), entry(b"..")] };
    assert!(refusal(&encoded(&listing)).starts_with("entries: entry name"));
}

#[test]
fn headers_are_checked_field_by_field() {
    let good = encoded(&Operation::Ping);
    let cases: [(usize, &[u8], &str); 5] = [
        (0, b"GET ", "not bytes of a Twofold mirror"),
        (4, &[9, 0], "speaks version 9 of the mirror protocol, this node 1"),
        (6, &[0xfe, 0xff], "no message of kind 0xfffe"),
        (8, &[0xff; 4], "longer than the allowed"),
        (13, &[1], "reserved"),
    ];
    for (at, change, why) in cases {
        let mut bytes = good.clone();
        bytes[at..at + change.len()].copy_from_slice(change);
        let text = refusal(&bytes);
        assert!(text.contains(why), "{text}");
        assert!(wire::frame_len(&bytes).is_err(), "refused before the body has come");
    }
}

#[test]
fn a_lie_about_a_list_costs_no_memory() {
    let mut bytes = encoded(&Operation::Unbind { ids: vec![FileId::new(0, 5)] });
    bytes[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refusal(&bytes).contains("cannot be in this body"));
}

#[test]
fn ranges_end_where_files_can_end() {
    let (id, mtime) = (FileId::new(0, 5), Default::default());
    let offset = i64::MAX as u64 - 3;
    let write = |data| Operation::Write { id, offset, mtime, kill_suid: false, more: false, data };
    assert!(wire::decode_frame(&encoded(&write(b"abc"))).is_ok());
    assert!(refusal(&encoded(&write(b"abcd"))).contains("beyond any file"));
    let hole = Operation::Zone { id, offset, data: ZoneData::Hole(u64::MAX) };
    assert!(refusal(&encoded(&hole)).contains("beyond any file"));
}

#[test]
fn bulk_data_is_borrowed_and_bounded() {
    let (id, mtime) = (FileId::new(0, 5), Default::default());
    let data = vec![7; MAX_DATA_BYTES];
    let write =
        Operation::Write { id, offset: 0, mtime, kill_suid: false, more: false, data: &data };
    assert!(wire::fits(&write));
    let mut fixed = Vec::new();
    let following = wire::encode_operation_split(1, &write, &mut fixed).expect("bulk data");
    assert_eq!(following.as_ptr(), data.as_ptr());
    assert_eq!(fixed.len() % 8, 0, "data is aligned in the frame");
    let bytes = encoded(&write);
    let Ok(Frame::Operation(_, Operation::Write { data: read, .. })) = wire::decode_frame(&bytes)
    else {
        panic!("a write of the greatest length is read");
    };
    assert_eq!(read.as_ptr(), bytes[fixed.len()..].as_ptr());
    let more = vec![7; MAX_DATA_BYTES + 1];
    let write =
        Operation::Write { id, offset: 0, mtime, kill_suid: false, more: false, data: &more };
    assert!(!wire::fits(&write));
    let long = with_body_bytes([bytes.as_slice(), &[0]].concat());
    assert!(refusal(&long).contains("are more than"));
}

#[test]
fn what_does_not_fit_is_known_before() {
    let ids = vec![FileId::new(0, 5); MAX_BODY_BYTES / 8];
    assert!(!wire::fits(&Operation::Unbind { ids }));
    let value = vec![0; 65537];
    let id = FileId::new(0, 5);
    assert!(!wire::fits(&Operation::SetXattr { id, name: b"user.x", value: &value, flags: 0 }));
}

#[test]
fn a_long_text_is_cut_at_a_character() {
    let text = "ä".repeat(4000);
    let mut bytes = Vec::new();
    let report = mirror_core::message::Report::Failed { sequence: 1, errno: 5, text };
    wire::encode_report(&report, &mut bytes);
    match wire::decode_frame(&bytes) {
        Ok(Frame::Report(mirror_core::message::Report::Failed { text, .. })) => {
            assert_eq!(text, "ä".repeat(2048));
        }
        other => panic!("{other:?}"),
    }
}
