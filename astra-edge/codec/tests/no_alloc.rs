//! Encoding and decoding allocate nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use astra_codec::{Codebook, half_norms, largest, word_major};

struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn calls(of: impl FnOnce()) -> usize {
    let before = CALLS.load(Ordering::SeqCst);
    of();
    CALLS.load(Ordering::SeqCst) - before
}

/// One test only in this file: the counter sees every thread.
#[test]
fn encode_and_decode_allocate_nothing() {
    assert!(
        calls(|| drop(std::hint::black_box(vec![0_u8; 64]))) > 0,
        "the counter counts"
    );
    let dims = [1, 4, 5, 9, 40];
    let rank = dims.iter().map(|&dim| usize::from(dim)).sum::<usize>();
    for words in [4, 256] {
        let dim_major = (0..rank * words)
            .map(|i| (i * i % 101) as f32)
            .collect::<Vec<_>>();
        let mut turned = vec![0.0; rank * words];
        let mut norms = vec![0.0; dims.len() * words];
        let mut y = vec![1.0; 65 * rank];
        let mut codes = vec![0; 65 * dims.len()];
        let (mut errors, mut scratch, mut positions) = ([0.0; 65], [0; 65], [0; 9]);
        let made = calls(|| {
            word_major(&dims, words, &dim_major, &mut turned).unwrap();
            half_norms(&dims, words, &dim_major, &mut norms).unwrap();
            let codebook = Codebook::new(&dims, words, &dim_major, &turned, &norms).unwrap();
            codebook.encode(&y, &mut codes).unwrap();
            codebook.residual(&codes, &mut y, &mut errors).unwrap();
            largest(&errors, &mut scratch, &mut positions).unwrap();
            codebook.decode(&codes, &mut y).unwrap();
            codebook.add_token([1; 5], &mut y[..rank]).unwrap();
        });
        assert_eq!(made, 0, "{words} words");
    }
}
