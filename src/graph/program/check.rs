//! What a run relies on: everything that kernels take for granted about places, shapes and
//! constants.
//!
//! Here are the questions that are the same for every operation. What one operation asks besides is
//! in its own file.

use super::{MAX_PORTS, Operation, Place, Port, Program, ProgramError, View};

/// Dimensions and counts above this are refused, so that no product of them overflows.
const MAX_DIMENSION: u32 = 1 << 12;

/// Arenas and tensors above this are refused: a few damaged bytes must not ask for more memory than
/// a board has.
const MAX_BYTES: u64 = 1 << 28;

/// The widest border: as wide as the padding of the largest window that is lowered.
const MAX_BORDER: u32 = 8;

impl Program {
    /// Checks everything that a run relies on, so that a hostile file ends here and not in a
    /// kernel.
    pub(super) fn check(&self, weights: &[u8]) -> Result<(), ProgramError> {
        if u64::from(self.arena_bytes) > MAX_BYTES {
            return Err(invalid(
                "arena",
                format!("{} bytes; up to {MAX_BYTES} are allowed", self.arena_bytes),
            ));
        }
        self.check_ports()?;
        for op in &self.operations {
            let checked = self
                .check_views(op)
                .and_then(|()| op.kind.operator().check(&op.ends(), weights));
            checked.map_err(|reason| invalid(&op.name, reason))?;
        }
        Ok(())
    }

    fn check_ports(&self) -> Result<(), ProgramError> {
        for ports in [&self.inputs, &self.outputs] {
            if ports.len() > MAX_PORTS {
                let reason = format!("{} of one kind; up to {MAX_PORTS} are allowed", ports.len());
                return Err(invalid("inputs or outputs", reason));
            }
        }
        let checked = |port: &Port, good: bool, what: &str, i: u32| {
            self.check_view(&port.view)
                .and_then(|()| match good {
                    true => Ok(()),
                    false => Err(format!("{what} {i} lies elsewhere")),
                })
                .map_err(|reason| invalid(&port.name, reason))
        };
        for (i, port) in (0..).zip(&self.inputs) {
            checked(port, port.view.place == Place::Input(i), "input", i)?;
        }
        for (i, port) in (0..).zip(&self.outputs) {
            let good = port.view.place == Place::Output(i, 0) && !port.view.image;
            checked(port, good, "output", i)?;
        }
        Ok(())
    }

    /// A view has a shape that no product of overflows, and lies in its buffer.
    fn check_view(&self, v: &View) -> Result<(), String> {
        for (what, n) in [
            ("channels", v.channels),
            ("rows", v.height),
            ("columns", v.width),
        ] {
            if n == 0 || n > MAX_DIMENSION {
                return Err(format!("{n} {what}"));
            }
        }
        if v.border > MAX_BORDER {
            return Err(format!("a border of {}", v.border));
        }
        if v.image && v.channels > 4 {
            return Err(format!("an image of {} channels", v.channels));
        }
        let bytes = v.bytes_u64();
        if bytes > MAX_BYTES {
            return Err(format!("{bytes} bytes; up to {MAX_BYTES} are allowed"));
        }
        self.check_place(v)
    }

    fn check_place(&self, v: &View) -> Result<(), String> {
        let within = |at: u32, buffer: &str, maximum: u64| {
            let end = u64::from(at) + v.bytes_u64();
            if end > maximum {
                return Err(format!("ends at byte {end} of an {buffer} of {maximum}"));
            }
            Ok(())
        };
        match v.place {
            Place::Arena(at) => within(at, "arena", u64::from(self.arena_bytes)),
            Place::Output(i, at) => {
                let port = self.outputs.get(i as usize);
                within(at, "output", port.map_or(0, |o| o.view.bytes_u64()))
            }
            Place::Input(i) => {
                let same = |port: &Port| port.view.tensor_shape() == v.tensor_shape();
                if self.inputs.get(i as usize).is_some_and(same) {
                    return Ok(());
                }
                Err(format!("reads input {i} in another shape than it has"))
            }
        }
    }

    /// An operation's tensors: each in its buffer, and what is written apart from what is read.
    fn check_views(&self, op: &Operation) -> Result<(), String> {
        let (x, y, operator) = (&op.input, &op.output, op.kind.operator());
        self.check_view(y)?;
        for read in std::iter::once(x).chain(operator.second()) {
            self.check_view(read)?;
            if overlap(read, y) {
                return Err("reads what it writes".into());
            }
        }
        if matches!(y.place, Place::Input(_)) {
            return Err("writes its input".into());
        }
        if y.image {
            return Err("writes an image".into());
        }
        if x.image && !operator.reads_images() {
            return Err(format!("{} of an image", operator.name()));
        }
        Ok(())
    }
}

/// Whether two views of one buffer have bytes in common.
fn overlap(a: &View, b: &View) -> bool {
    let (from, to) = match (a.place, b.place) {
        (Place::Arena(from), Place::Arena(to)) => (from as usize, to as usize),
        (Place::Output(i, from), Place::Output(j, to)) if i == j => (from as usize, to as usize),
        _ => return false,
    };
    from < to + b.bytes() && to < from + a.bytes()
}

fn invalid(name: &str, reason: String) -> ProgramError {
    ProgramError::Invalid {
        name: name.to_owned(),
        reason,
    }
}
