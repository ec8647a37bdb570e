//! The mask network where it is needed: coefficients at the objects' places only, prototypes around their boxes only.
//!
//! The whole network costs a tenth of a frame, and most of what it makes is not looked at: coefficients of 2,125 places for some twenty
//! objects, prototypes of the grey around a letterboxed photo. Both are convolutions without memory of where they are, so the same
//! kernels make the same bytes from a part of the features ([`Program::alone`]).

use std::{collections::HashMap, ops::Range};

use crate::{
    detect::Field,
    graph::{
        op::{Execution, Graph},
        program::{Executor, Program},
    },
    kernels::layout::LANE,
    pack::map::Bytes,
};

use super::super::field;

/// Places that are done together.
const STRIP: usize = 16;
/// Windows of prototypes are multiples of so many rows and columns, so that there are few different ones.
const STEP: usize = 8;

/// The network in parts, and its buffers.
#[derive(Debug)]
pub(super) struct Parts {
    program: Program,
    weights: Bytes,
    execution: Execution,
    /// By level.
    strips: Vec<Part>,
    /// By rows and columns.
    windows: HashMap<(usize, usize), Part>,
    /// Which of the places are of the level at hand.
    own: Vec<usize>,
}

/// A program over a part of one feature.
#[derive(Debug)]
struct Part {
    executor: Executor,
    /// Which feature it reads.
    feature: usize,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Part {
    fn new(
        program: &Program,
        weights: &Bytes,
        output: usize,
        (rows, columns): (usize, usize),
    ) -> Option<Self> {
        let (part, feature) = program.alone(output, rows as u32, columns as u32)?;
        let executor = Executor::new(part, weights).ok()?;
        Some(Self {
            feature,
            input: vec![0; executor.program().inputs[0].view.bytes()],
            output: vec![0; executor.program().outputs[0].view.bytes()],
            executor,
        })
    }

    fn run(&mut self, weights: &Bytes, Execution { isa, threads }: Execution) {
        let outputs = &mut [self.output.as_mut_slice()];
        let inputs = &[self.input.as_slice()];
        self.executor
            .run(isa, threads, weights, inputs, outputs, |_, _| ());
    }

    fn field(&self) -> Field {
        field(&self.executor.program().outputs[0])
    }
}

/// Part of the prototypes' grid: its bytes, and where it begins.
#[derive(Debug)]
pub(super) struct Window<'a> {
    pub(super) field: Field,
    pub(super) bytes: &'a [u8],
    pub(super) column: usize,
    pub(super) row: usize,
}

impl Parts {
    /// None if the network is not made so that it can be taken apart.
    pub(super) fn new(graph: &Graph, execution: Execution) -> Option<Self> {
        let (program, weights) = (graph.program().clone(), graph.weights().clone());
        let strip = |output: usize| Part::new(&program, &weights, output, (1, STRIP));
        let strips: Option<Vec<Part>> = (1..program.outputs.len()).map(strip).collect();
        let strips = strips?;
        // of each level its own feature, and of the prototypes whichever
        let own = strips.iter().enumerate().all(|(i, s)| s.feature == i);
        let all = {
            let view = &program.outputs[0].view;
            (view.height as usize, view.width as usize)
        };
        let whole = Part::new(&program, &weights, 0, all)?;
        own.then(|| Self {
            windows: HashMap::from([(all, whole)]),
            program,
            weights,
            execution,
            strips,
            own: Vec::new(),
        })
    }

    /// Appends the coefficients of some places, each a level and an index there, in their order.
    pub(super) fn coefficients(
        &mut self,
        features: &[&[u8]],
        places: &[(usize, usize)],
        out: &mut Vec<u8>,
    ) {
        let count = self.program.outputs[1].view.channels as usize;
        let start = out.len();
        out.resize(start + places.len() * count, 0);
        for (level, part) in self.strips.iter_mut().enumerate() {
            self.own.clear();
            self.own
                .extend((0..places.len()).filter(|&i| places[i].0 == level));
            let from = field(&self.program.inputs[level]);
            let to = part.executor.program().inputs[0].view.planes();
            for some in self.own.chunks(STRIP) {
                for (column, &i) in some.iter().enumerate() {
                    let pixels = from.at(features[level], places[i].1);
                    let planes = part.input.chunks_exact_mut(to.bytes());
                    for (plane, pixel) in planes.zip(pixels) {
                        plane[to.origin() + column * LANE..][..LANE].copy_from_slice(pixel);
                    }
                }
                part.run(&self.weights, self.execution);
                let field = part.field();
                for (column, &i) in some.iter().enumerate() {
                    let values = field.at(&part.output, column).flatten();
                    let own = &mut out[start + i * count..][..count];
                    for (to, &value) in own.iter_mut().zip(values) {
                        *to = value;
                    }
                }
            }
        }
    }

    /// The prototypes of at least these columns and rows.
    pub(super) fn prototypes(
        &mut self,
        features: &[&[u8]],
        columns: Range<usize>,
        rows: Range<usize>,
    ) -> Option<Window<'_>> {
        let view = &self.program.outputs[0].view;
        let fitted = |span: &Range<usize>, all: u32| {
            let all = all as usize;
            let length = span.len().next_multiple_of(STEP).clamp(1, all);
            (span.start.min(all - length), length)
        };
        let (column, width) = fitted(&columns, view.width);
        let (row, height) = fitted(&rows, view.height);
        let part = match self.windows.entry((height, width)) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let made = Part::new(&self.program, &self.weights, 0, (height, width))?;
                new.insert(made)
            }
        };
        // with its border: what lies around the part
        let from = self.program.inputs[part.feature].view.planes();
        let to = part.executor.program().inputs[0].view.planes();
        let length = to.row_bytes();
        let planes = features[part.feature].chunks_exact(from.bytes());
        for (to, from_plane) in part.input.chunks_exact_mut(to.bytes()).zip(planes) {
            for (i, to) in to.chunks_exact_mut(length).enumerate() {
                let at = (row + i) * from.row_bytes() + column * LANE;
                to.copy_from_slice(&from_plane[at..at + length]);
            }
        }
        part.run(&self.weights, self.execution);
        Some(Window {
            field: part.field(),
            bytes: &part.output,
            column,
            row,
        })
    }
}
