//! What the network makes of a frame, object by object: for rows from boxes that were shown.

use std::sync::Arc;

use super::{Pipeline, PipelineError, StageTimes, levels_of};
use crate::{
    detect::{Candidate, exemplar::Object},
    frame::Frame,
};

impl Pipeline {
    /// The objects that are proposed in a frame, best first, before any prompt is compared with them; boxes in frame space.
    ///
    /// One run of the network. What was kept of the frame before, for masks and presence, is gone then.
    ///
    /// # Errors
    ///
    /// As [`detect`](Self::detect).
    pub fn objects_in(&mut self, frame: &Frame<'_>) -> Result<Vec<Object>, PipelineError> {
        let plane = Arc::make_mut(&mut self.image);
        let letterbox = self.letterboxer.write(frame, plane.as_bytes_mut());
        self.letterbox = None; // what is kept of a frame is no longer that of the last detection
        self.network(&mut StageTimes::default())?;
        let outputs = levels_of(&self.outputs);
        self.detector.propose(&outputs);
        let quant = self.objects;
        let object = |candidate: Candidate<'_>| Object {
            bbox: letterbox.frame_from_input(candidate.bbox),
            objectness: candidate.objectness,
            embedding: (candidate.embedding.iter())
                .map(|&byte| quant.dequantise(byte))
                .collect(),
        };
        let objects = self.detector.candidates(&outputs).map(object);
        Ok(objects.filter(|o| !o.bbox.is_empty()).collect())
    }
}
