//! The generation record: written and read the same, and every damage is noticed.

mod messages;

use mirror_core::disk::{crc32, decode_generation, encode_generation, RECORD_MAX_BYTES};
use mirror_core::generation::{Generation, LastRole, HISTORY_MAX};
use proptest::prelude::*;

const VECTOR: &str = include_str!("../../../tests/vectors/generation.txt");

fn example() -> Generation {
    Generation {
        current: 0x1122_3344_5566_7788,
        base: 0x8877_6655_4433_2211,
        history: vec![0x8877_6655_4433_2211, 3],
        role: LastRole::Primary,
        clean: true,
        sole: true,
        sync_target: false,
        outdated: false,
        epoch: 42,
    }
}

fn refusal(bytes: &[u8]) -> String {
    decode_generation(bytes).expect_err("must be refused").to_string()
}

#[test]
fn the_golden_vector_is_what_we_write_and_read() {
    assert_eq!(String::from_utf8(encode_generation(&example())).unwrap(), VECTOR);
    assert_eq!(decode_generation(VECTOR.as_bytes()).unwrap(), example());
}

#[test]
fn the_checksum_is_the_usual_crc_32() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    assert_eq!(crc32(b""), 0);
}

#[test]
fn every_changed_byte_and_every_cut_is_noticed() {
    let good = encode_generation(&example());
    for at in 0..good.len() {
        for value in 0..=255 {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert_eq!(decode_generation(&bytes).is_ok(), bytes == good, "byte {at} = {value}");
        }
        assert!(decode_generation(&good[..at]).is_err(), "cut at {at}");
        let mut longer = good.clone();
        longer.insert(at, b'0');
        assert!(decode_generation(&longer).is_err(), "a byte more at {at}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    assert_eq!(refusal(b""), "is damaged: it is empty");
    assert_eq!(refusal(&[0; 300]), "is damaged: it does not begin as a generation record does");
    assert_eq!(refusal(&[0; 5000]), "is damaged: it is too long for a generation record");
    assert_eq!(refusal(b"\xff"), "is damaged: it is not text");
    let newer = VECTOR.replacen("generation 1", "generation 2", 1);
    assert_eq!(refusal(newer.as_bytes()), "has version 2; this program reads version 1");
    let changed = VECTOR.replacen("epoch 42", "epoch 43", 1);
    assert_eq!(refusal(changed.as_bytes()), "is damaged: its checksum does not match its content");
    let cut = &VECTOR[..VECTOR.find("crc32").unwrap()];
    assert_eq!(refusal(cut.as_bytes()), "is damaged: the checksum line is missing");
}

/// With a right checksum, what is not written as we write it is refused all the same.
#[test]
fn a_forged_record_is_refused() {
    let body = &VECTOR[..VECTOR.find("crc32").unwrap()];
    let sealed = |body: &str| format!("{body}crc32 {:08x}\n", crc32(body.as_bytes()));
    assert!(decode_generation(sealed(body).as_bytes()).is_ok());
    for (from, to) in [
        ("clean yes", "clean maybe"),
        ("role primary", "role king"),
        ("epoch 42", "epoch 042"),
        ("epoch 42", "epoch -1"),
        ("current 1122334455667788", "current 112233445566778"),
        ("outdated no\n", ""),
        ("epoch 42\n", "epoch 42\nextra 1\n"),
        ("epoch 42\n", "epoch 42\r\n"),
    ] {
        let bytes = sealed(&body.replacen(from, to, 1));
        assert!(decode_generation(bytes.as_bytes()).is_err(), "{to}");
    }
    let long = " 0000000000000001".repeat(HISTORY_MAX + 1);
    let bytes = sealed(&body.replacen("history", &format!("history{long}"), 1));
    assert!(decode_generation(bytes.as_bytes()).is_err());
}

proptest! {
    #[test]
    fn records_survive_the_disk(generation in messages::generations()) {
        let bytes = encode_generation(&generation);
        prop_assert!(bytes.len() <= RECORD_MAX_BYTES);
        prop_assert_eq!(decode_generation(&bytes).unwrap(), generation);
    }

    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(decode_generation(&bytes).is_err());
    }
}
