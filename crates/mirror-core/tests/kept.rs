//! The journal of the kept copy: its bytes, and what is made of a torn or damaged one.

use mirror_core::kept::{decode, encode, encode_title, Kept, What};
use mirror_core::units::FileTime;

fn kept(what: What) -> Kept {
    Kept {
        handle: "1-00ff".into(),
        mode: 0o4755,
        uid: 1,
        gid: 2,
        mtime: FileTime { seconds: -5, nanoseconds: 7 },
        xattrs: vec![(b"user.a".to_vec(), vec![0, 255]), (b"user.b".to_vec(), Vec::new())],
        what,
    }
}

fn examples() -> Vec<Kept> {
    let names = vec![(b"a name\n".to_vec(), "1-01".into()), (vec![0xff], "1-02".into())];
    let bare = Kept { xattrs: Vec::new(), ..kept(What::Names(Vec::new())) };
    vec![kept(What::Contents(0x1f)), kept(What::Attributes), kept(What::Names(names)), bare]
}

fn journal() -> Vec<u8> {
    let mut bytes = encode_title(0xabc);
    examples().iter().for_each(|kept| bytes.extend(encode(kept)));
    bytes
}

#[test]
fn the_bytes_are_these() {
    assert_eq!(encode_title(0xabc), b"twofold kept 1 0000000000000abc 02887720\n");
    let line = "names 1-00ff 4755 1 2 -5 7 757365722e61=00ff,757365722e62= \
                61206e616d650a:1-01,ff:1-02 ";
    let found = encode(&examples()[2]);
    assert_eq!(std::str::from_utf8(&found).unwrap()[..line.len()], *line);
}

#[test]
fn what_was_written_is_read() {
    assert_eq!(decode(&journal()), Ok((0xabc, examples())));
    assert_eq!(decode(&encode_title(7)), Ok((7, Vec::new())));
}

#[test]
fn a_torn_end_is_left_out_wherever_it_is_torn() {
    let whole = journal();
    let title = encode_title(0xabc).len();
    for length in title..whole.len() {
        let (generation, found) = decode(&whole[..length]).unwrap();
        assert_eq!(generation, 0xabc);
        assert!(examples().starts_with(&found), "{length}");
    }
    for length in 0..title {
        assert!(decode(&whole[..length]).is_err(), "{length}");
    }
}

#[test]
fn damage_before_the_last_line_is_told() {
    let whole = journal();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    for place in 0..last {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        if let Ok((generation, found)) = decode(&damaged) {
            // A newline that went joined two lines into a bad last one at most.
            assert_eq!(generation, 0xabc);
            assert!(examples().starts_with(&found), "{place}");
            assert!(found.len() + 2 >= examples().len(), "{place}");
        }
    }
}
