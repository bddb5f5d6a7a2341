//! The format of a rescue: golden lines, odd bytes, cut files, checksums that do not see holes.

use std::path::Path;

use mirror_fs::rescue_manifest::{
    escape, hex, line, parse_lines, unescape, unhex, About, Checksum, Name, Saved, State,
};

const VECTORS: &str = include_str!("../../../tests/vectors/rescue.jsonl");

fn about() -> About {
    About {
        format: 1,
        id: "20240301T000000Z-00000000000000ff".into(),
        module: "files".into(),
        node: "a".into(),
        peer: "b".into(),
        generation: "00000000000000ff".into(),
        reason: "diverged".into(),
        trees: vec!["/srv/files".into()],
        begun_s: 1_709_251_200,
        ended_s: None,
        state: State::Saving,
        removed: vec![],
    }
}

fn names() -> [Name; 2] {
    let plain = Name {
        object: 7,
        tree: 0,
        path: escape(b"dir/odd \xff%\n\xc3\x84"),
        identity: "000102030405060708090a0b0c0d0e0f".into(),
        kind: "regular".into(),
        mode: 0o4711,
        uid: 5,
        gid: 6,
        size: 3 << 40,
        mtime: (-2, 999_999_999),
        rdev: 0,
        target: String::new(),
        xattrs: vec![(escape(b"user.note"), hex(b"\x00\xff"))],
    };
    let link = Name {
        object: 8,
        kind: "symlink".into(),
        target: escape(b"../there"),
        xattrs: vec![],
        ..plain.clone()
    };
    [plain, link]
}

fn saved() -> [Saved; 5] {
    let checksum = || "0123456789abcdef0123456789abcdef".to_owned();
    [
        Saved::Whole { object: 7, bytes: 4096, checksum: checksum() },
        Saved::Zones { object: 9 },
        Saved::Zone { object: 9, offset: 1 << 20, length: 1 << 20, checksum: checksum() },
        Saved::Changed { object: 8 },
        Saved::LeftOut { object: 9, offset: 0, length: 1 << 20 },
    ]
}

fn written() -> String {
    let mut bytes = line(&about());
    names().iter().for_each(|name| bytes.extend(line(name)));
    saved().iter().for_each(|saved| bytes.extend(line(saved)));
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_golden_lines_are_what_we_write_and_read() {
    assert_eq!(written(), VECTORS, "the format has changed: that is a new version");
    let lines: Vec<&[u8]> = VECTORS.as_bytes().split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(serde_json::from_slice::<About>(lines[0]).unwrap(), about());
    let path = Path::new("names.jsonl");
    assert_eq!(parse_lines::<Name>(path, &lines[1..3].concat()).unwrap(), names());
    assert_eq!(parse_lines::<Saved>(path, &lines[3..].concat()).unwrap(), saved());
}

#[test]
fn a_cut_last_line_counts_for_nothing_and_a_bad_one_is_named() {
    let path = Path::new("saved.jsonl");
    let whole: Vec<u8> = saved().iter().flat_map(line).collect();
    for cut in 1..20 {
        let read = parse_lines::<Saved>(path, &whole[..whole.len() - cut]).unwrap();
        assert_eq!(read, saved()[..4]);
    }
    let bad = [b"{\"saved\":\"nonsense\",\"object\":1}\n".as_slice(), &whole].concat();
    let error = parse_lines::<Saved>(path, &bad).unwrap_err().to_string();
    assert!(error.starts_with("saved.jsonl: line 1: "), "{error}");
}

#[test]
fn every_byte_comes_back() {
    let all: Vec<u8> = (0..=255).collect();
    let text = escape(&all);
    assert!(text.chars().all(|c| !c.is_control()));
    assert_eq!(unescape(&text).unwrap(), all);
    assert_eq!(escape("Ä ß 漢".as_bytes()), "Ä ß 漢");
    for bad in ["%", "%4", "%zz", "%+1", "a%Ä"] {
        assert!(unescape(bad).is_err(), "{bad}");
    }
    assert_eq!(unhex("00ff"), Some(vec![0, 255]));
    assert_eq!(unhex("0"), None);
}

#[test]
fn a_hole_and_written_zeros_have_one_checksum() {
    let data = vec![7; 4096];
    let mut with_zeros = Checksum::default();
    with_zeros.add(0, &[vec![0; 8192], data.clone(), vec![0; 100]].concat());
    let mut with_holes = Checksum::default();
    with_holes.add(8192, &data);
    assert_eq!(with_zeros.text(), with_holes.text());
    let mut elsewhere = Checksum::default();
    elsewhere.add(4096, &data);
    assert_ne!(elsewhere.text(), with_holes.text());
}

#[test]
#[ignore = "prints the lines, to add a new one"]
fn print_lines() {
    print!("{}", written());
}
