//! How a large write is cut, so that both nodes work on it at the same time.
//!
//! Each piece is written here, sent, and written there, while the next is written here. The first
//! and the last are small: the secondary begins early, and has little left to do when this node is
//! done. (Each was worth about a tenth of a sequential write, see `docs/internals/bench.md`.)

/// A write of up to this is one piece.
pub const PIECE_BYTES: usize = 128 << 10;
/// The first and the last piece of a larger one.
pub const END_PIECE_BYTES: usize = 32 << 10;

/// How much of a write of `total` bytes is done next, when `written` are done.
pub fn next_bytes(written: usize, total: usize) -> usize {
    let left = total - written;
    if total <= PIECE_BYTES || left <= END_PIECE_BYTES {
        left
    } else if written == 0 {
        END_PIECE_BYTES
    } else {
        PIECE_BYTES.min(left - END_PIECE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(total: usize) -> Vec<usize> {
        let (mut written, mut pieces) = (0, Vec::new());
        while written < total {
            pieces.push(next_bytes(written, total));
            written += pieces[pieces.len() - 1];
        }
        assert_eq!(written, total);
        pieces
    }

    #[test]
    fn a_large_write_begins_and_ends_with_a_small_piece() {
        for total in [PIECE_BYTES + 1, 200_000, 256 << 10, 1 << 20, (1 << 20) - 1] {
            let pieces = pieces(total);
            assert_eq!(pieces[0], END_PIECE_BYTES);
            assert!(pieces[pieces.len() - 1] <= END_PIECE_BYTES);
            assert!(pieces.iter().all(|bytes| (1..=PIECE_BYTES).contains(bytes)), "{pieces:?}");
            assert!(pieces.len() <= total / PIECE_BYTES + 3, "{pieces:?}");
        }
    }

    #[test]
    fn any_other_write_is_one_piece() {
        for total in [1, 4096, 32 << 10, PIECE_BYTES] {
            assert_eq!(pieces(total), [total]);
        }
    }
}
