//! The end of lowering: every tensor gets its border, its lifetime and its place.

use std::collections::HashMap;

use super::{Draft, Lowering, tensor::Tensor};
use crate::graph::{
    plan::{Buffer, place},
    program::{Kind, Operation, Place, Port, Program, View},
};

impl Lowering<'_> {
    /// The program, now that all operations are known.
    pub(super) fn finish(mut self) -> Program {
        self.buffers_outlive_their_parts();
        self.copies_have_one_border();
        let (offsets, arena_bytes) = self.place();
        let port = |name: &str, t: usize| Port {
            name: name.to_owned(),
            view: self.placed(t, &offsets),
            scale: self.tensors[t].quant.scale,
        };
        let tensors = self.tensors.iter().enumerate();
        let inputs = tensors.filter(|(_, t)| t.input.is_some());
        let outputs = self.outputs.iter();
        let operations = self.drafts.iter();
        Program {
            inputs: inputs.map(|(i, t)| port(&t.name, i)).collect(),
            outputs: outputs.map(|(name, t)| port(name, *t)).collect(),
            operations: operations.map(|d| self.operation(d, &offsets)).collect(),
            arena_bytes,
        }
    }

    /// A buffer has the widest border and the longest life of all its parts.
    fn buffers_outlive_their_parts(&mut self) {
        for t in 0..self.tensors.len() {
            let (root, _) = self.root(t);
            let Tensor {
                border,
                first,
                last,
                ..
            } = self.tensors[t];
            let r = &mut self.tensors[root];
            r.border = r.border.max(border);
            r.first = r.first.min(first);
            r.last = r.last.max(last);
        }
    }

    /// Copies move whole planes, so both sides have one border.
    fn copies_have_one_border(&mut self) {
        // a copy's buffer may be copied again, hence the loop
        for _ in 0..self.drafts.len() {
            for d in &self.drafts {
                if matches!(d.kind, Kind::Copy(_)) {
                    let (a, b) = (self.root(d.input).0, self.root(d.output).0);
                    let border = self.tensors[a].border.max(self.tensors[b].border);
                    self.tensors[a].border = border;
                    self.tensors[b].border = border;
                }
            }
        }
        for t in 0..self.tensors.len() {
            self.tensors[t].border = self.tensors[self.root(t).0].border;
        }
    }

    /// The concatenation at the end of a chain of them, and the first plane of `t` there.
    fn root(&self, mut t: usize) -> (usize, u32) {
        let mut plane = 0;
        while let Some((whole, first)) = self.tensors[t].within {
            plane += first;
            t = whole;
        }
        (t, plane)
    }

    /// Where in the arena each buffer lies, by tensor, and the size of the arena.
    fn place(&self) -> (HashMap<usize, u32>, u32) {
        let tensors = self.tensors.iter().enumerate();
        let (roots, buffers): (Vec<usize>, Vec<Buffer>) = tensors
            .filter(|(_, t)| t.within.is_none() && t.input.is_none() && t.output.is_none())
            .map(|(i, t)| {
                let buffer = Buffer {
                    bytes: t.unplaced().bytes() as u32,
                    first: t.first,
                    last: t.last,
                };
                (i, buffer)
            })
            .unzip();
        let (offsets, arena_bytes) = place(&buffers);
        (roots.into_iter().zip(offsets).collect(), arena_bytes)
    }

    /// The view of a tensor in its place.
    fn placed(&self, t: usize, offsets: &HashMap<usize, u32>) -> View {
        let tensor = &self.tensors[t];
        if let Some(i) = tensor.input {
            return tensor.view(Place::Input(i));
        }
        let (root, plane) = self.root(t);
        let first = plane * tensor.unplaced().planes().bytes() as u32;
        tensor.view(match self.tensors[root].output {
            Some(i) => Place::Output(i, first),
            None => Place::Arena(offsets[&root] + first),
        })
    }

    /// A draft, with the views of its tensors.
    fn operation(&self, draft: &Draft, offsets: &HashMap<usize, u32>) -> Operation {
        let mut kind = draft.kind;
        if let (Some(view), Some(t)) = (kind.operator_mut().second_mut(), draft.second) {
            *view = self.placed(t, offsets);
        }
        Operation {
            name: draft.name.clone(),
            input: self.placed(draft.input, offsets),
            output: self.placed(draft.output, offsets),
            kind,
        }
    }
}
