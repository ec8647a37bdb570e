//! Masks of a frame's detections: a graph on the features, then [`segment`](crate::segment), object by object.

use super::{Pipeline, PipelineError, field, load, same};
use crate::{
    graph::op::{Execution, Graph},
    graph::program::Port,
    kernels::layout::LANE,
    mask::Mask,
    pack::Pack,
    scene::Report,
    segment::{Prototypes, Segmenter},
};

/// The mask network of a pack.
#[derive(Debug)]
pub(super) struct Masker {
    graph: Graph,
    stride: u32,
    segmenter: Segmenter,
}

impl Masker {
    /// That of the pack, if it has one.
    pub(super) fn open(
        pack: &Pack,
        execution: Execution,
        features: &[Port],
    ) -> Result<Option<Self>, PipelineError> {
        let Some(form) = pack.manifest().masks else {
            return Ok(None);
        };
        let graph = load(pack, "masks", execution)?;
        let program = graph.program();
        let fits = match program.outputs.as_slice() {
            [prototypes, coefficients @ ..] => {
                let places = |port: &Port| (port.view.height, port.view.width);
                let count = prototypes.view.channels;
                form.stride > 0
                    && count.is_multiple_of(LANE as u32)
                    && program.inputs.len() == features.len()
                    && program
                        .inputs
                        .iter()
                        .zip(features)
                        .all(|(to, from)| same(from, to))
                    && coefficients.len() == features.len()
                    && coefficients
                        .iter()
                        .zip(features)
                        .all(|(c, f)| places(c) == places(f))
                    && coefficients.iter().all(|c| {
                        c.view.channels == count
                            && c.view.zero_point == coefficients[0].view.zero_point
                    })
            }
            [] => false,
        };
        if !fits {
            return Err(PipelineError::Mismatch(
                "the mask network does not take the features to prototypes and coefficients".into(),
            ));
        }
        Ok(Some(Self {
            graph,
            stride: form.stride,
            segmenter: Segmenter::default(),
        }))
    }
}

impl Pipeline {
    /// Whether the pack can tell which pixels an object has.
    #[must_use]
    pub const fn segments(&self) -> bool {
        self.masker.is_some()
    }

    /// Gives each detection of a report its mask. The report is the one that the last [`detect`](Self::detect) filled.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Lacks`] if the pack has no mask network; [`PipelineError::Graph`] if it fails, which a checked pack's does not.
    pub fn segment(&mut self, report: &mut Report) -> Result<(), PipelineError> {
        let Some(masker) = &mut self.masker else {
            return Err(PipelineError::Lacks("masks"));
        };
        report.masks.clear();
        let (false, Some(letterbox)) = (report.detections.is_empty(), &self.letterbox) else {
            return Ok(()); // nothing found, or the self-test came between
        };
        let outputs = masker.graph.run(self.features.clone())?;
        let ports = &masker.graph.program().outputs;
        let prototypes = Prototypes {
            field: field(&ports[0]),
            bytes: outputs[0].as_bytes(),
            stride: masker.stride,
        };
        let mut coefficients = Vec::new();
        for detection in &report.detections {
            let (level, index) = self.detector.place(detection.location);
            let at = field(&ports[1 + level]);
            coefficients.clear();
            coefficients.extend(at.at(outputs[1 + level].as_bytes(), index).flatten());
            let mut mask = Mask::default();
            masker.segmenter.run(
                &prototypes,
                &coefficients,
                at.quant.zero_point,
                &detection.bbox,
                letterbox,
                &mut mask,
            );
            report.masks.push(mask);
        }
        Ok(())
    }
}
