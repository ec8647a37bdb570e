//! Score and logit: the sigmoid and its inverse, the same bits on every board.
//!
//! `f32::exp` and `f32::ln` call the platform's C library, and those differ in the last
//! bit; the crate `libm` is one Rust implementation for all of them.

/// The score of a logit: `1 / (1 + e^-logit)`, in `0..=1`.
pub fn score(logit: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-logit))
}

/// The logit of a score: `ln(score / (1 - score))`.
///
/// A score of 0 or less is minus infinity (everything passes), 1 or more is plus
/// infinity, and so is what is not a number (nothing passes).
pub fn logit(score: f32) -> f32 {
    if score <= 0.0 {
        f32::NEG_INFINITY
    } else if score < 1.0 {
        libm::logf(score / (1.0 - score))
    } else {
        f32::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::{logit, score};

    #[test]
    fn score_and_logit_undo_each_other() {
        for percent in 1..100 {
            let p = percent as f32 / 100.0;
            assert!((score(logit(p)) - p).abs() < 1e-6, "{p}");
        }
        assert_eq!((score(0.0), logit(0.5)), (0.5, 0.0));
    }

    #[test]
    fn scores_of_extreme_logits_are_finite_and_within_bounds() {
        assert_eq!(score(f32::INFINITY), 1.0);
        assert_eq!(score(f32::NEG_INFINITY), 0.0);
        assert_eq!(score(-200.0), 0.0);
        assert_eq!(score(200.0), 1.0);
    }

    #[test]
    fn scores_never_fall_as_logits_rise() {
        let mut last = 0.0;
        for i in -4000..4000 {
            let now = score(i as f32 / 200.0);
            assert!(now >= last, "at {i}");
            last = now;
        }
    }

    #[test]
    fn bounds_of_a_threshold_pass_everything_or_nothing() {
        assert_eq!(logit(0.0), f32::NEG_INFINITY);
        assert_eq!(logit(-3.0), f32::NEG_INFINITY);
        assert_eq!(logit(1.0), f32::INFINITY);
        assert_eq!(logit(f32::NAN), f32::INFINITY);
    }

    #[test]
    fn the_bits_of_a_score_are_the_same_on_every_board() {
        // recorded once
        let bits = [-7.3, -0.1, 0.3, 2.75].map(|x: f32| score(x).to_bits());
        assert_eq!(bits, [0x3a30_f806, 0x3ef3_35ed, 0x3f13_0eaa, 0x3f70_9e29]);
    }
}
