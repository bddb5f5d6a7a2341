//! What a resync reads of a file: a checksum does not depend on where the holes are.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use mirror_fs::zone::{checksum, checksum_in};

#[test]
fn holes_count_as_the_zeros_that_they_are() {
    let path = std::env::temp_dir().join(format!("twofold-zone-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
    std::fs::remove_file(&path).expect("its name goes");
    let mut whole = vec![0; 900_000];
    file.set_len(whole.len() as u64).expect("sparse");
    for (at, length) in [(70_000, 5000), (200_000, 1), (500_000, 100_000), (880_000, 20_000)] {
        let data = &mut whole[at..at + length];
        data.fill(at as u8 | 1);
        file.write_all_at(data, at as u64).expect("written");
    }
    for (from, length) in [(0, 1 << 20), (65_536, 65_536), (0, 4096), (450_000, 1 << 20)] {
        let end = (from + length).min(whole.len());
        let sum = checksum_in(file.as_fd(), from as u64, length as u64).expect("read");
        assert_eq!(sum, checksum(&whole[from..end]), "{from} {length}");
    }
}
