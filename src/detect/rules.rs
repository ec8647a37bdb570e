//! Groups and rejects: what prompts of a set do to one another, on purpose and only where it was asked for.
//!
//! | rule | effect |
//! |---|---|
//! | group | its members are one answer: reported under the group's name, and of boxes that overlap the best is kept |
//! | reject | what it finds is not reported, and neither is what it beats: a detection that overlaps it and scores lower |
//!
//! Without groups and rejects a report passes untouched. Prompts without a rule are touched by rejects only.

use crate::{prompt::rules::Rules, scene::Report};

/// Applies them to a report, whose detections come best first. `iou` is the overlap from which two
/// boxes are at the same place.
pub fn apply(rules: &Rules, iou: f32, report: &mut Report) {
    if rules.is_empty() {
        return;
    }
    let rule = |prompt: u32| rules.of(prompt);
    let found = &mut report.detections;
    // in place: kept ones move to the front, rejects stay behind them for as long as they are needed
    let mut kept = 0;
    for i in 0..found.len() {
        let (this, own) = (found[i], rule(found[i].prompt));
        let beaten = found[..kept].iter().any(|better| {
            let by = rule(better.prompt);
            let matters = by.reject || (own.group.is_some() && by.group == own.group);
            matters && better.bbox.iou(&this.bbox) >= iou
        });
        if !beaten {
            found[kept] = this;
            kept += 1;
        }
    }
    found.truncate(kept);
    found.retain(|d| !rule(d.prompt).reject);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        geometry::{BBox, Size},
        scene::Detection,
    };
    use std::time::SystemTime;

    /// Prompts 0 and 1 are a group, 2 is a reject, 3 is neither.
    fn rules() -> Rules {
        let drink = (Some("drink"), false);
        let prompts = [drink, drink, (None, true), (None, false)];
        Rules::new(prompts.into_iter())
    }

    /// Detections at horizontal places, best first; what is left as (prompt, place).
    fn applied(found: &[(u32, f32)]) -> Vec<(u32, f32)> {
        let mut report = Report::new(0, SystemTime::UNIX_EPOCH, Size::new(1000, 10));
        for (i, &(prompt, x)) in found.iter().enumerate() {
            let logit = -(i as f32);
            let detection = Detection {
                bbox: BBox::new(x, 0.0, x + 10.0, 10.0),
                score: 0.5,
                logit,
                prompt,
                location: 0,
            };
            report.detections.push(detection);
        }
        apply(&rules(), 0.5, &mut report);
        let left = report.detections.iter();
        left.map(|d| (d.prompt, d.bbox.x0)).collect()
    }

    #[test]
    fn of_a_group_the_best_is_kept_at_each_place() {
        let found = [(1, 0.0), (0, 1.0), (0, 100.0), (3, 0.0)];
        assert_eq!(applied(&found), [(1, 0.0), (0, 100.0), (3, 0.0)]);
    }

    #[test]
    fn a_reject_takes_what_it_beats_with_it_and_nothing_else() {
        let found = [(3, 0.0), (2, 1.0), (0, 2.0), (3, 100.0)];
        assert_eq!(applied(&found), [(3, 0.0), (3, 100.0)]);
    }

    #[test]
    fn without_rules_nothing_changes() {
        assert!(Rules::new([(None, false); 2].into_iter()).is_empty());
    }
}
