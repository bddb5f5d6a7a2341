//! Requests as Linux 6.18 sent them on x86-64, and what they mean here. `TWOFOLD_REWRITE=1` writes
//! the meanings anew, to be read before they are kept.

use kernel_fuse::{Malformed, Operation, Request};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/fuse_requests.txt");

fn vectors() -> Vec<(String, Vec<u8>, String)> {
    let text = std::fs::read_to_string(PATH).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let pairs = lines.chunks(2).map(|two| {
        let (what, hex) = two[0].split_once(' ').unwrap();
        let digits: Vec<&[u8]> = hex.as_bytes().chunks(2).collect();
        let byte = |two: &&[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
        let meaning = two.get(1).map_or("", |line| line.trim());
        (what.to_owned(), digits.iter().map(byte).collect(), meaning.to_owned())
    });
    pairs.collect()
}

/// Names and data as text.
fn told(request: &Request<'_>) -> String {
    let mut told = format!("{} {:?} {:?}", request.node, request.caller, request.operation);
    while let Some(start) = told.find('[') {
        let end = start + told[start..].find(']').unwrap();
        let bytes = told[start + 1..end].split(", ").map(|byte| byte.parse::<u8>().unwrap_or(b'?'));
        let text: String = bytes.map(|byte| byte.escape_ascii().to_string()).collect();
        told.replace_range(start..=end, &format!("'{text}'"));
    }
    told
}

#[test]
fn what_the_kernel_asks() {
    let mut written = String::new();
    let old = std::fs::read_to_string(PATH).unwrap();
    old.lines().filter(|l| l.starts_with('#')).for_each(|line| written += &format!("{line}\n"));
    let mut wrong = Vec::new();
    for (what, bytes, meaning) in vectors() {
        let request = Request::read(&bytes, 0).unwrap();
        let got = told(&request);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        written += &format!("{what} {hex}\n    {got}\n");
        if got != meaning {
            wrong.push(format!("{what}: {got}, not {meaning}"));
        }
    }
    if std::env::var_os("TWOFOLD_REWRITE").is_some() {
        std::fs::write(PATH, written).unwrap();
    } else {
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn what_is_cut_short_is_refused_and_can_be_answered() {
    for (what, bytes, _) in vectors() {
        for length in 0..bytes.len() {
            let mut cut = bytes[..length].to_vec();
            if length >= 4 {
                cut[..4].copy_from_slice(&(length as u32).to_ne_bytes());
            }
            match Request::read(&cut, 0) {
                Err(Malformed { unique, .. }) => {
                    assert_eq!(unique.is_some(), length >= 40, "{what}")
                }
                // What nobody needs may be missing at its end.
                Ok(request) => assert!(length >= 40, "{what} {length} {request:?}"),
            }
        }
    }
}

#[test]
fn what_lies_about_its_length_is_refused() {
    let (_, mut bytes, _) = vectors().swap_remove(0);
    bytes[0] += 1;
    assert!(Request::read(&bytes, 0).is_err());
    bytes[0] -= 1;
    bytes[36] = 0xff; // more extensions than there are bytes
    assert!(Request::read(&bytes, 0).is_err());
}

#[test]
fn an_unknown_request_is_one() {
    let (_, mut bytes, _) = vectors().swap_remove(0);
    bytes[4..8].copy_from_slice(&99u32.to_ne_bytes());
    let request = Request::read(&bytes, 0).unwrap();
    assert_eq!(request.operation, Operation::Unknown { opcode: 99 });
}

#[test]
fn an_access_list_may_take_the_set_group_id_bit() {
    let whole = vectors().into_iter().find(|(what, ..)| what == "set_xattr").unwrap().1;
    for (flags, expected) in [(0u32, false), (1, true)] {
        let mut bytes = whole.clone();
        let field = [flags.to_ne_bytes(), [0; 4]].concat();
        bytes.splice(48..48, field);
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        let Operation::SetXattr { name, value, flags, kill_sgid } =
            Request::read(&bytes, kernel_fuse::abi::init::SETXATTR_EXT).unwrap().operation
        else {
            panic!("another request");
        };
        assert_eq!((name, value, flags, kill_sgid), (&b"user.x"[..], &b"value"[..], 0, expected));
    }
}
