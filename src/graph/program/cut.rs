//! One output of a program by itself, and only a part of its picture.

use super::{Conv, Kind, Operation, Place, Port, Program, View};
use crate::graph::plan::ALIGN;

impl Program {
    /// What leads to one output, as a program of one input and one output, over a picture of
    /// another size.
    ///
    /// Only for a chain of convolutions from one input that keep the size, of which none but the
    /// first looks at neighbours: then a part of the picture, given with what lies around it as its
    /// border, comes to the same bytes as in the whole. For anything else there is none. Also
    /// returned: the input that the chain begins at.
    #[must_use]
    pub fn alone(&self, output: usize, height: u32, width: u32) -> Option<(Self, usize)> {
        let port = self.outputs.get(output)?;
        let (chain, input) = self.chain(&port.view)?;
        let (first, last) = (chain.first()?, chain.len() - 1);
        let cut = |view: &View, place: Place| View {
            place,
            height,
            width,
            ..*view
        };
        let mut arena_bytes = 0;
        let mut from = cut(&first.input, Place::Input(0));
        let mut operations = Vec::with_capacity(chain.len());
        for (i, op) in chain.iter().enumerate() {
            let place = if i == last {
                Place::Output(0, 0)
            } else {
                Place::Arena(arena_bytes)
            };
            let to = cut(&op.output, place);
            if i < last {
                let bytes = u32::try_from(to.bytes()).ok()?;
                arena_bytes = arena_bytes.checked_add(bytes)?.next_multiple_of(ALIGN);
            }
            operations.push(Operation {
                input: from,
                output: to,
                ..(*op).clone()
            });
            from = to;
        }
        let single = |port: &Port, view: View| Port {
            view,
            ..port.clone()
        };
        let program = Self {
            inputs: vec![single(&self.inputs[input], operations[0].input)],
            outputs: vec![single(port, from)],
            operations,
            arena_bytes,
        };
        Some((program, input))
    }

    /// The convolutions that make a view, first to last, and the input that they begin at.
    fn chain(&self, end: &View) -> Option<(Vec<&Operation>, usize)> {
        let mut chain: Vec<&Operation> = Vec::new();
        let (mut wanted, mut before) = (*end, self.operations.len());
        loop {
            let at = self.operations[..before]
                .iter()
                .rposition(|op| op.output.place == wanted.place)?;
            let op = &self.operations[at];
            let Kind::Conv(Conv { window, .. }) = &op.kind else {
                return None;
            };
            let keeps = (op.input.height, op.input.width) == (op.output.height, op.output.width)
                && window.stride == [1, 1];
            let alone = window.kernel == [1, 1];
            // what reads the next one's neighbours would read this one's border
            let reads = chain
                .last()
                .is_some_and(|next: &&Operation| match &next.kind {
                    Kind::Conv(Conv { window, .. }) => window.kernel != [1, 1],
                    _ => true,
                });
            if op.output != wanted || !keeps || reads || op.input.image {
                return None;
            }
            chain.push(op);
            match op.input.place {
                Place::Input(input) => {
                    chain.reverse();
                    return Some((chain, input as usize));
                }
                _ if alone => (wanted, before) = (op.input, at),
                _ => return None,
            }
        }
    }
}
