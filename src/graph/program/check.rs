//! What a run relies on: everything that kernels take for granted about places, shapes and constants.

use super::{
    Activation, Epilogue, Kind, MAX_PORTS, Operation, Place, Port, Program, ProgramError, View,
    Window, constants,
};
use crate::kernels::{depthwise, layout::LANE, pool};

/// Dimensions and counts above this are refused, so that no product below overflows.
const MAX_DIMENSION: u32 = 1 << 12;

/// Arenas and tensors above this are refused: a few damaged bytes must not ask for more memory than a board has.
const MAX_BYTES: u64 = 1 << 28;

impl Program {
    /// Checks everything that a run relies on, so that a hostile file ends here and not in a kernel.
    pub(super) fn check(&self, weights: &[u8]) -> Result<(), ProgramError> {
        if u64::from(self.arena_bytes) > MAX_BYTES {
            return Err(invalid(
                "arena",
                format!("{} bytes; up to {MAX_BYTES} are allowed", self.arena_bytes),
            ));
        }
        for ports in [&self.inputs, &self.outputs] {
            if ports.len() > MAX_PORTS {
                let reason = format!("{} of one kind; up to {MAX_PORTS} are allowed", ports.len());
                return Err(invalid("inputs or outputs", reason));
            }
        }
        for (i, port) in (0..).zip(&self.inputs) {
            self.check_view(&port.name, &port.view)?;
            if port.view.place != Place::Input(i) {
                return Err(invalid(&port.name, format!("input {i} lies elsewhere")));
            }
        }
        for (i, port) in (0..).zip(&self.outputs) {
            self.check_view(&port.name, &port.view)?;
            if port.view.place != Place::Output(i, 0) || port.view.image {
                return Err(invalid(&port.name, format!("output {i} lies elsewhere")));
            }
        }
        self.operations
            .iter()
            .try_for_each(|op| self.check_operation(op, weights))
    }

    fn check_view(&self, name: &str, v: &View) -> Result<(), ProgramError> {
        for (what, n) in [
            ("channels", v.channels),
            ("rows", v.height),
            ("columns", v.width),
        ] {
            if n == 0 || n > MAX_DIMENSION {
                return Err(invalid(name, format!("{n} {what}")));
            }
        }
        if v.border > 8 {
            return Err(invalid(name, format!("a border of {}", v.border)));
        }
        if v.image && v.channels > 4 {
            return Err(invalid(
                name,
                format!("an image of {} channels", v.channels),
            ));
        }
        if v.bytes_u64() > MAX_BYTES {
            return Err(invalid(
                name,
                format!("{} bytes; up to {MAX_BYTES} are allowed", v.bytes_u64()),
            ));
        }
        match v.place {
            Place::Arena(at) => {
                let end = u64::from(at) + v.bytes_u64();
                if end > u64::from(self.arena_bytes) {
                    return Err(invalid(
                        name,
                        format!("ends at byte {end} of an arena of {}", self.arena_bytes),
                    ));
                }
            }
            Place::Output(i, at) => {
                let end = u64::from(at) + v.bytes_u64();
                let most = self
                    .outputs
                    .get(i as usize)
                    .map_or(0, |o| o.view.bytes_u64());
                if end > most {
                    return Err(invalid(
                        name,
                        format!("ends at byte {end} of an output of {most}"),
                    ));
                }
            }
            Place::Input(i) => {
                let same = |port: &Port| port.view.tensor_shape() == v.tensor_shape();
                if !self.inputs.get(i as usize).is_some_and(same) {
                    return Err(invalid(
                        name,
                        format!("reads input {i} in another shape than it has"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_operation(&self, op: &Operation, weights: &[u8]) -> Result<(), ProgramError> {
        let fail = |reason: String| Err(invalid(&op.name, reason));
        let (x, y) = (&op.input, &op.output);
        self.check_view(&op.name, y)?;
        let other = match &op.kind {
            Kind::Add(other, ..) | Kind::Gate(other, _) => Some(other),
            _ => None,
        };
        for read in std::iter::once(x).chain(other) {
            self.check_view(&op.name, read)?;
            let (from, to) = match (read.place, y.place) {
                (Place::Arena(from), Place::Arena(to)) => (from as usize, to as usize),
                (Place::Output(i, from), Place::Output(j, to)) if i == j => {
                    (from as usize, to as usize)
                }
                _ => continue,
            };
            if from < to + y.bytes() && to < from + read.bytes() {
                return fail("reads what it writes".into());
            }
        }
        if matches!(y.place, Place::Input(_)) {
            return fail("writes its input".into());
        }
        if y.image {
            return fail("writes an image".into());
        }
        if x.image && !matches!(op.kind, Kind::Conv(..)) {
            return fail(format!("{} of an image", op.kind.name()));
        }
        let same_size =
            |a: &View| (a.height, a.width, a.channels) == (y.height, y.width, y.channels);
        match &op.kind {
            Kind::Upsample | Kind::UpsampleLinear => {
                let doubled = (2 * x.height, 2 * x.width, x.channels, x.zero_point);
                if doubled != (y.height, y.width, y.channels, y.zero_point) {
                    return fail(format!("upsamples {x:?} to {y:?}"));
                }
            }
            Kind::Copy => {
                if x.tensor_shape() != y.tensor_shape() {
                    return fail(format!("copies {x:?} to {y:?}"));
                }
            }
            Kind::Permute(map) => {
                if (x.height, x.width, x.zero_point) != (y.height, y.width, y.zero_point) {
                    return fail(format!("permutes {x:?} to {y:?}"));
                }
                let range = *map as usize..(*map as usize).saturating_add(2 * LANE * y.blocks());
                let Some(Ok(map)) = weights.get(range).map(bytemuck::try_cast_slice::<u8, u16>)
                else {
                    return fail(format!(
                        "its map at byte {map} is not in the weights section"
                    ));
                };
                let lanes = x.blocks() * LANE;
                if let Some(bad) = map
                    .iter()
                    .find(|&&c| c != u16::MAX && usize::from(c) >= lanes)
                {
                    return fail(format!("takes channel {bad} of {lanes}"));
                }
            }
            Kind::Add(other, scales, epilogue) => {
                if !same_size(x) || !same_size(other) || other.image {
                    return fail(format!("adds {x:?} and {other:?} to {y:?}"));
                }
                if !scales.iter().all(|s| s.is_finite()) {
                    return fail(format!("scales {scales:?}"));
                }
                check_epilogue(op, epilogue, weights)?;
            }
            Kind::Gate(gates, scale) => {
                let each = (gates.height, gates.width, gates.channels) == (1, 1, y.channels);
                if !same_size(x) || !each || gates.image || !scale.is_finite() {
                    return fail(format!(
                        "multiplies {x:?} by {gates:?} and {scale} to {y:?}"
                    ));
                }
            }
            Kind::AveragePool(scale) => {
                if (y.height, y.width, y.channels) != (1, 1, x.channels) || !scale.is_finite() {
                    return fail(format!("averages {x:?} to {y:?} with a scale of {scale}"));
                }
            }
            Kind::MaxPool(window) => {
                let outside = (0..2).any(|i| window.pad[i] >= window.kernel[i]);
                if x.channels != y.channels || x.zero_point != y.zero_point || outside {
                    return fail(format!("pools {x:?} to {y:?}"));
                }
                check_window(op, window, MAX_POOL)?;
            }
            Kind::Conv(window, _, epilogue) => {
                check_border(op, window)?;
                check_window(op, window, MAX_KERNEL)?;
                check_constants(op, weights)?;
                check_epilogue(op, epilogue, weights)?;
            }
            Kind::Depthwise(window, _, epilogue) => {
                if x.channels != y.channels {
                    return fail(format!(
                        "{} channels to {} each by itself",
                        x.channels, y.channels
                    ));
                }
                check_border(op, window)?;
                check_window(op, window, MAX_KERNEL)?;
                let taps = op.depthwise_shape(window.kernel).taps();
                if taps > depthwise::MAX_TAPS {
                    return fail(format!(
                        "{taps} taps; up to {} are done",
                        depthwise::MAX_TAPS
                    ));
                }
                check_constants(op, weights)?;
                check_epilogue(op, epilogue, weights)?;
            }
        }
        Ok(())
    }
}

/// The widest windows of convolutions and of poolings.
const MAX_KERNEL: u32 = 8;
const MAX_POOL: u32 = pool::MAX_KERNEL as u32;

fn check_border(op: &Operation, window: &Window) -> Result<(), ProgramError> {
    let Window { kernel, pad, .. } = window;
    let border = op.input.border;
    if pad.iter().any(|&p| p > border) {
        return Err(invalid(
            &op.name,
            format!("padding {pad:?} in a border of {border}"),
        ));
    }
    for axis in 0..2 {
        let last = last_tap(op, window, axis);
        let size = [op.input.height, op.input.width][axis];
        if last + border > size + 2 * border + pad[axis] {
            let reason = format!(
                "kernel {kernel:?} reads {last} of {size} inputs with padding {}",
                pad[axis]
            );
            return Err(invalid(&op.name, reason));
        }
    }
    Ok(())
}

/// One past the last row or column that is read, counted from the first of the padding.
fn last_tap(op: &Operation, window: &Window, axis: usize) -> u32 {
    let out = [op.output.height, op.output.width][axis];
    (out - 1) * window.stride[axis].min(MAX_POOL) + window.kernel[axis].min(MAX_POOL)
}

fn check_window(op: &Operation, window: &Window, most: u32) -> Result<(), ProgramError> {
    let Window {
        kernel,
        stride,
        pad,
    } = window;
    let bad = |n: &u32| *n == 0 || *n > most;
    if kernel.iter().chain(stride).any(bad) || pad.iter().any(|&p| p >= most) {
        return Err(invalid(
            &op.name,
            format!("kernel {kernel:?}, stride {stride:?}, padding {pad:?}"),
        ));
    }
    for axis in 0..2 {
        // the last window must still see the picture
        let first = last_tap(op, window, axis) - kernel[axis];
        if first >= [op.input.height, op.input.width][axis] + pad[axis] {
            return Err(invalid(
                &op.name,
                format!("its last window starts at {first}, outside the picture"),
            ));
        }
    }
    Ok(())
}

fn check_constants(op: &Operation, weights: &[u8]) -> Result<(), ProgramError> {
    let fail = |reason: String| Err(invalid(&op.name, reason));
    for (what, range) in constants::of_convolution(op) {
        let end = range.end;
        let Some(part) = weights.get(range) else {
            return fail(format!(
                "{what} end at byte {end} of a weights section of {}",
                weights.len()
            ));
        };
        if what != "weights" && bytemuck::try_cast_slice::<u8, i32>(part).is_err() {
            return fail(format!("{what} end at byte {end}, which is not aligned"));
        }
        // what kernels of all levels agree on, and only that
        if what == "weights" && part.contains(&i8::MIN.cast_unsigned()) {
            return fail("a weight is -128".into());
        }
        let finite = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).is_finite();
        if what == "scales" && !part.chunks_exact(4).all(finite) {
            return fail("a scale is not finite".into());
        }
    }
    Ok(())
}

fn check_epilogue(op: &Operation, epilogue: &Epilogue, weights: &[u8]) -> Result<(), ProgramError> {
    let Epilogue {
        zero_point,
        clamp,
        activation,
    } = *epilogue;
    if clamp[0] > clamp[1] {
        return Err(invalid(&op.name, format!("clamps to {clamp:?}")));
    }
    match activation {
        Activation::Slope(slope) if !(slope > 0.0 && slope <= 1.0) => {
            Err(invalid(&op.name, format!("a slope of {slope}")))
        }
        Activation::None | Activation::Slope(_) if zero_point != op.output.zero_point => {
            let reason = format!(
                "zero is {zero_point} in its sums and {} in its output",
                op.output.zero_point
            );
            Err(invalid(&op.name, reason))
        }
        Activation::Table(at) if weights.len() < (at as usize).saturating_add(256) => {
            let reason = format!(
                "its table ends at byte {} of a weights section of {}",
                u64::from(at) + 256,
                weights.len()
            );
            Err(invalid(&op.name, reason))
        }
        _ => Ok(()),
    }
}

fn invalid(name: &str, reason: String) -> ProgramError {
    ProgramError::Invalid {
        name: name.to_owned(),
        reason,
    }
}
