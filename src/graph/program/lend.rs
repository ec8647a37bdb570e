//! What an operation may write and read while it runs: its output by itself, and everything else.
//!
//! All tensors lie in a few buffers, so one operation holds a part of a buffer for writing while it
//! reads others of the same buffer. `check` has shown that they do not overlap; splitting the
//! buffers around the output shows the compiler.

use super::{Place, View};

/// Everything that an operation may read while it holds its output; `check` has shown that they do
/// not overlap.
pub(super) struct Readable<'a, 'b> {
    /// What lies before and behind the output in the same buffer: the arena, or the output of this
    /// index.
    before: &'a [u8],
    behind: &'a [u8],
    /// Where `behind` starts in that buffer.
    behind_at: usize,
    home: Option<usize>,
    /// The arena, if it is not the home.
    arena: &'a [u8],
    inputs: &'a [&'a [u8]],
    /// The program's outputs before and behind the home; all of them before if the arena is.
    outputs: [&'a [&'b mut [u8]]; 2],
}

/// Lends an operation its output, and the rest to read.
pub(super) fn lend<'a, 'b>(
    arena: &'a mut [u8],
    inputs: &'a [&'a [u8]],
    outputs: &'a mut [&'b mut [u8]],
    output: &View,
) -> (&'a mut [u8], Readable<'a, 'b>) {
    let (buffer, at, home, arena, outputs): (&'a mut [u8], _, _, &'a [u8], _) = match output.place {
        Place::Arena(at) => (arena, at, None, &[], [&*outputs, &[]]),
        Place::Output(i, at) => {
            let (left, rest) = outputs.split_at_mut(i as usize);
            let (home, right) = rest.split_first_mut().expect("checked in `new`");
            (home, at, Some(i as usize), arena, [&*left, &*right])
        }
        Place::Input(_) => unreachable!("checked in `new`: nothing writes an input"),
    };
    let (before, rest) = buffer.split_at_mut(at as usize);
    let (output, behind) = rest.split_at_mut(output.bytes());
    let readable = Readable {
        behind_at: before.len() + output.len(),
        before,
        behind,
        home,
        arena,
        inputs,
        outputs,
    };
    (output, readable)
}

impl<'a> Readable<'a, '_> {
    /// The planes of an input.
    pub(super) fn view(&self, view: &View) -> &'a [u8] {
        let bytes = view.bytes();
        let around = |at: u32| match (at as usize).checked_sub(self.behind_at) {
            Some(at) => &self.behind[at..][..bytes],
            None => &self.before[at as usize..][..bytes],
        };
        match (view.place, self.home) {
            (Place::Input(i), _) => self.inputs[i as usize],
            (Place::Arena(at), None) => around(at),
            (Place::Arena(at), Some(_)) => &self.arena[at as usize..][..bytes],
            (Place::Output(i, at), Some(home)) if i as usize == home => around(at),
            (Place::Output(i, at), home) => {
                let [left, right] = self.outputs;
                let buffer: &[u8] =
                    match (i as usize).checked_sub(home.map_or(left.len(), |h| h + 1)) {
                        Some(i) => right[i],
                        None => left[i as usize],
                    };
                &buffer[at as usize..][..bytes]
            }
        }
    }
}
