//! Masks of a frame's detections: a graph on the features, then [`segment`](crate::segment), object by object.

use parts::{Parts, Window};

use super::{Pipeline, field, load, same};
use crate::{
    error::Error,
    graph::op::{Execution, Graph},
    graph::program::Port,
    kernels::layout::LANE,
    pack::{Pack, manifest::Masks},
    scene::Report,
    segment::{self, BESIDES, Prototypes, Segmenter},
};

mod parts;

/// The mask network of a pack.
#[derive(Debug)]
pub(super) struct Masker {
    graph: Graph,
    form: Masks,
    segmenter: Segmenter,
    /// The network in parts, if it can be taken apart; else all of it is run.
    parts: Option<Parts>,
    places: Vec<(usize, usize)>,
    coefficients: Vec<u8>,
}

impl Masker {
    /// That of the pack, if it has one.
    pub(super) fn open(
        pack: &Pack,
        execution: Execution,
        features: &[Port],
    ) -> Result<Option<Self>, Error> {
        let Some(form) = pack.manifest().masks else {
            return Ok(None);
        };
        let graph = load(pack, "masks", execution)?;
        let program = graph.program();
        let fits = match program.outputs.as_slice() {
            [prototypes, coefficients @ ..] => {
                let places = |port: &Port| (port.view.height, port.view.width);
                let count = prototypes.view.channels;
                let each = coefficients.first().map_or(0, |c| c.view.channels);
                form.stride > 0
                    && form.unit.is_finite()
                    && count.is_multiple_of(LANE as u32)
                    && each > 0
                    && each.is_multiple_of(count + BESIDES as u32)
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
                        c.view.channels == each
                            && c.view.zero_point == coefficients[0].view.zero_point
                    })
            }
            [] => false,
        };
        if !fits {
            return Err(Error::mismatch(
                "the mask network does not take the features to prototypes and coefficients of hidden units over them",
            ));
        }
        Ok(Some(Self {
            parts: Parts::new(&graph, execution),
            places: Vec::new(),
            coefficients: Vec::new(),
            graph,
            form,
            segmenter: Segmenter::default(),
        }))
    }
}

impl Pipeline {
    /// Gives each detection of a report its mask. The report is one of the frame that was seen last; where that was forgotten, there
    /// are none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the pack has no mask network;
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if it fails, which a checked pack's does not.
    pub(crate) fn segment(&mut self, report: &mut Report) -> Result<(), Error> {
        let team = self.team.clone();
        let _sitting = team.sit();
        let Some(masker) = &mut self.masker else {
            return Err(Error::lacks("masks"));
        };
        report.masks.clear();
        let (false, Some(letterbox)) = (report.detections.is_empty(), &self.letterbox) else {
            return Ok(()); // nothing found, or another frame came between
        };
        let Masker {
            graph,
            form,
            segmenter,
            parts,
            places,
            coefficients,
        } = masker;
        places.clear();
        let all = report.detections.iter();
        places.extend(all.map(|d| self.detector.place(d.location)));
        let ports = &graph.program().outputs;
        let count = ports[1].view.channels as usize;
        let size = (ports[0].view.width as usize, ports[0].view.height as usize);
        let zero = ports[1].view.zero_point;
        coefficients.clear();

        let boxes = report.detections.iter().map(|d| &d.bbox);
        let (columns, rows) = segment::points(letterbox, form.stride, size, boxes);
        let features: heapless::Vec<&[u8], 8> =
            self.features.iter().map(|t| t.as_bytes()).collect();
        let window = match parts {
            Some(parts) => {
                parts.coefficients(&features, places, coefficients);
                parts.prototypes(&features, columns, rows)
            }
            None => None,
        };
        let outputs;
        let window = if let Some(window) = window {
            window
        } else {
            outputs = graph.run(self.features.clone())?;
            coefficients.clear();
            let ports = &graph.program().outputs;
            for &(level, index) in &*places {
                let at = field(&ports[1 + level]);
                coefficients.extend(at.at(outputs[1 + level].as_bytes(), index).flatten());
            }
            Window {
                field: field(&ports[0]),
                bytes: outputs[0].as_bytes(),
                column: 0,
                row: 0,
            }
        };
        let prototypes = Prototypes {
            field: window.field,
            bytes: window.bytes,
            stride: form.stride,
            size,
            origin: (window.column, window.row),
            unit: form.unit,
        };
        let own = coefficients.chunks_exact(count);
        for (detection, coefficients) in report.detections.iter().zip(own) {
            segmenter.run(
                &prototypes,
                coefficients,
                zero,
                &detection.bbox,
                letterbox,
                report.masks.next(),
            );
        }
        Ok(())
    }
}
