//! Inputs for decoders: real ones, changed in ways that their structure makes dangerous.
//!
//! From a seed, so that a run can be had again. Memory is counted: a decoder that believes a length
//! it is told, and reserves that much, is caught even where the machine would give it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Numbers at which lengths and offsets go wrong.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    23,
    24,
    0x7f,
    0xff,
    0xffff,
    0x10_0000,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

pub struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: everything is the system's allocator's; only a number of this thread is kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|count| count.set(count.get() + layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}

/// xorshift64*: good enough to choose mutations, and the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn number_from(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(otherwise)
}

/// Changes a real input: one to four mutations.
pub fn mutate(random: &mut Random, real: &[Vec<u8>], input: &mut Vec<u8>) {
    input.clear();
    let chosen = random.below(real.len());
    input.extend_from_slice(&real[chosen]);
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(17)).min(input.len());
        match random.below(9) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = EDGES[random.below(7)] as u8,
            2 | 3 => {
                let width = [2, 4, 8][random.below(3)];
                let mut number = EDGES[random.below(EDGES.len())];
                number = number.wrapping_add(random.below(3) as u64).wrapping_sub(1);
                let room = width.min(input.len() - at);
                input[at..at + room].copy_from_slice(&number.to_le_bytes()[..room]);
            }
            4 => drop(input.drain(at..end)),
            5 => {
                let piece = input[at..end].to_vec();
                drop(input.splice(at..at, piece));
            }
            6 => input.truncate(at),
            7 => {
                let other = &real[random.below(real.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let byte = random.next() as u8;
                input.insert(at, byte);
            }
        }
    }
}

/// Decodes many inputs. `mend` may make an input whole again where a checksum or length would
/// otherwise hide what is behind it. `decode` tells what it thinks of an input: `Ok(true)` taken,
/// `Ok(false)` refused with a reason, `Err`: what is wrong with the decoder.
pub fn fuzz(
    name: &str, real: &[Vec<u8>], memory_per_byte: usize, mend: impl Fn(&mut Random, &mut Vec<u8>),
    decode: impl Fn(&[u8]) -> Result<bool, String>,
) {
    let (seed, count) = (number_from("TWOFOLD_FUZZ_SEED", 1), number_from("TWOFOLD_FUZZ", 20_000));
    for input in real {
        assert_eq!(decode(input), Ok(true), "{name}: a real input is taken");
    }
    let mut random = Random::new(seed);
    let (mut input, mut taken) = (Vec::new(), 0_u64);
    for number in 0..count {
        mutate(&mut random, real, &mut input);
        mend(&mut random, &mut input);
        let before = ALLOCATED.get();
        let outcome = catch_unwind(AssertUnwindSafe(|| decode(&input)));
        let allocated = ALLOCATED.get() - before;
        let bound = 8192 + memory_per_byte * input.len();
        let wrong = match outcome {
            Ok(Ok(_)) if allocated > bound => format!("allocated {allocated} bytes"),
            Ok(Ok(was_taken)) => {
                taken += u64::from(was_taken);
                continue;
            }
            Ok(Err(text)) => text,
            Err(_) => "panicked".into(),
        };
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{name}: seed {seed}, input {number}: {wrong}: {hex}");
    }
    println!("{name}: seed {seed}, {count} inputs, {taken} taken, the rest refused with a reason");
    assert!(taken > 0 && taken < count, "{name}: mutations that change nothing, or only break");
}
