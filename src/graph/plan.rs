//! Where buffers lie in the arena: each as low as those alive at the same time allow.
//!
//! Greedy by size (Pisarchyk and Lee, arXiv:2001.03288): the largest buffer first, at the lowest
//! offset that no placed buffer with an overlapping lifetime occupies. Within a few per cent of the
//! lower bound on networks like ours, and simple.

/// A buffer to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Its size in bytes.
    pub bytes: u32,
    /// The first operation that writes it.
    pub first: u32,
    /// The last operation that reads it.
    pub last: u32,
}

/// Offsets and sizes are whole cache lines.
pub const ALIGN: u32 = 64;

/// Offset of each buffer, and the size of the arena.
///
/// # Panics
///
/// If the arena would pass 4 GiB.
#[must_use]
pub fn place(buffers: &[Buffer]) -> (Vec<u32>, u32) {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(buffers[i].bytes));
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new(); // by offset
    let mut size = 0;
    for i in order {
        let b = &buffers[i];
        let mut at: u32 = 0;
        for &j in &placed {
            let other = &buffers[j];
            if b.first > other.last || other.first > b.last {
                continue;
            }
            if at + b.bytes <= offsets[j] {
                break;
            }
            at = at.max((offsets[j] + other.bytes).next_multiple_of(ALIGN));
        }
        offsets[i] = at;
        let rank = placed.partition_point(|&j| offsets[j] <= at);
        placed.insert(rank, i);
        size = size.max(at.checked_add(b.bytes).expect("an arena below 4 GiB"));
    }
    (offsets, size.next_multiple_of(ALIGN))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn buffer(bytes: u32, first: u32, last: u32) -> Buffer {
        Buffer { bytes, first, last }
    }

    #[test]
    fn a_chain_needs_its_two_largest_neighbours() {
        let chain = [
            buffer(640, 0, 1),
            buffer(1280, 1, 2),
            buffer(320, 2, 3),
            buffer(640, 3, 4),
        ];
        assert_eq!(place(&chain).1, 640 + 1280);
    }

    #[test]
    fn buffers_alive_together_never_overlap() {
        let mut state = 7u32;
        let mut next = |n: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % n
        };
        for _ in 0..200 {
            let buffers: Vec<Buffer> = (0..24)
                .map(|_| {
                    let first = next(20);
                    buffer(1 + next(5000), first, first + next(6))
                })
                .collect();
            let (offsets, size) = place(&buffers);
            for (i, a) in buffers.iter().enumerate() {
                assert!(offsets[i] + a.bytes <= size && offsets[i] % ALIGN == 0);
                for (j, b) in buffers.iter().enumerate().take(i) {
                    let together = a.first <= b.last && b.first <= a.last;
                    let apart =
                        offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
                    assert!(
                        !together || apart,
                        "{a:?} at {} and {b:?} at {}",
                        offsets[i],
                        offsets[j]
                    );
                }
            }
        }
    }
}
