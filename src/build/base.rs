//! What a pack gives to another one that is built from it.
//!
//! Its sections are offered in the form in which a folder would hold them, so that nothing else has to know where a part came from.

use super::{BuildError, floats};
use crate::{
    detect::exemplar::Background,
    graph::{lower::WeightsWriter, op::Execution, program::Program},
    kernels::isa::Isa,
    pack::Pack,
    pipeline::load,
    prompt::PARAMETERS,
};

/// A pack that another one is built from.
pub(super) struct Base<'a> {
    pub(super) pack: &'a Pack,
}

impl Base<'_> {
    /// What the folder's file of this name would be, but for graphs.
    pub(super) fn file(&self, name: &str) -> Option<Vec<u8>> {
        let section = |name: &str| self.pack.find(name).map(|bytes| bytes.to_vec());
        let width = self.pack.manifest().embedding.max(1) as usize;
        match name {
            "manifest.json" => self.pack.manifest().to_json().ok().map(String::into_bytes),
            "vocabulary.f32" => Some(units(&section("vocabulary.rows")?, width)),
            "parameters.f32" => {
                let (rows, stored) = (
                    section("vocabulary.rows")?,
                    section("vocabulary.parameters")?,
                );
                let stored = floats(&stored);
                let own = rows
                    .chunks_exact(width)
                    .zip(stored.chunks_exact(PARAMETERS));
                Some(bytes_of(own.flat_map(|(row, own)| {
                    [own[0] * length(row), own[1], own[2]]
                })))
            }
            "names.f32" => {
                let width = self.pack.manifest().text?.max(1) as usize;
                Some(units(&section("vocabulary.text")?, width))
            }
            "tokens.f32" => {
                let program = self.graph("sentence").ok()?;
                let port = program.0.inputs.first()?;
                let zero = f32::from(port.view.zero_point) - 128.0;
                let rows = section("tokens.rows")?;
                let real = |&q: &u8| (f32::from(q.cast_signed()) - zero) * port.scale;
                Some(bytes_of(rows.iter().map(real)))
            }
            "vocabulary.tsv" | "tokenizer.txt" | "golden.png" => section(name),
            _ => None,
        }
    }

    /// A graph's program, its constants added to `weights`.
    pub(super) fn program(
        &self,
        name: &str,
        weights: &mut WeightsWriter,
    ) -> Result<Program, BuildError> {
        let (program, old) = self.graph(name)?;
        Ok(program.moved(&old, |part| weights.put(part)))
    }

    /// The section about objects on the whole, if there is one.
    pub(super) fn background(&self) -> Option<(&'static str, Vec<u8>)> {
        let bytes = self.pack.find(Background::SECTION)?;
        Some((Background::SECTION, bytes.to_vec()))
    }

    fn graph(&self, name: &str) -> Result<(Program, Vec<u8>), BuildError> {
        let execution = Execution {
            isa: Isa::best(),
            threads: 1,
        };
        let graph = load(self.pack, name, execution).map_err(BuildError::Pipeline)?;
        Ok((graph.program().clone(), graph.weights().to_vec()))
    }
}

/// The length of a row, in its own steps.
fn length(row: &[u8]) -> f32 {
    let squares = row
        .iter()
        .map(|&q| f32::from(q.cast_signed()))
        .map(|v| v * v);
    squares.sum::<f32>().sqrt().max(1.0)
}

/// Rows of `width` as vectors of unit length.
fn units(rows: &[u8], width: usize) -> Vec<u8> {
    bytes_of(rows.chunks_exact(width).flat_map(|row| {
        let length = length(row);
        row.iter()
            .map(move |&q| f32::from(q.cast_signed()) / length)
    }))
}

fn bytes_of(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(f32::to_le_bytes).collect()
}
