//! The parts of the weights section that an operation refers to.

use bytemuck::AnyBitPattern;

/// A part of the weights section.
pub(in crate::graph) struct Constant<'a> {
    /// A word for messages, in the plural.
    what: &'static str,
    /// Where it starts: a field of the operation.
    pub(in crate::graph) at: &'a mut u32,
    pub(in crate::graph) bytes: usize,
    values: Values,
}

/// What is stored there, and thereby what [`check`] asks of it.
enum Values {
    /// Packed weights. None is -128: there the levels of a kernel would differ.
    Weights,
    /// Aligned 32-bit integers.
    Integers,
    /// Aligned, finite floats.
    Floats,
    /// Bytes whose range the operation checks itself.
    Bytes,
}

impl<'a> Constant<'a> {
    pub(super) const fn weights(at: &'a mut u32, bytes: usize) -> Self {
        let (what, values) = ("weights", Values::Weights);
        Self {
            what,
            at,
            bytes,
            values,
        }
    }

    pub(super) const fn integers(what: &'static str, at: &'a mut u32, count: usize) -> Self {
        Self {
            what,
            at,
            bytes: 4 * count,
            values: Values::Integers,
        }
    }

    pub(super) const fn scales(at: &'a mut u32, count: usize) -> Self {
        Self {
            what: "scales",
            at,
            bytes: 4 * count,
            values: Values::Floats,
        }
    }

    pub(super) const fn bytes(what: &'static str, at: &'a mut u32, bytes: usize) -> Self {
        let values = Values::Bytes;
        Self {
            what,
            at,
            bytes,
            values,
        }
    }
}

/// Refuses constants that lie outside of the section or hold what a kernel cannot multiply.
pub(super) fn check(constants: Vec<Constant<'_>>, section: &[u8]) -> Result<(), String> {
    for constant in constants {
        let what = constant.what;
        let start = *constant.at as usize;
        let end = start.saturating_add(constant.bytes);
        if matches!(constant.values, Values::Bytes) {
            continue;
        }
        let Some(part) = section.get(start..end) else {
            let length = section.len();
            return Err(format!(
                "{what} end at byte {end} of a weights section of {length}"
            ));
        };
        let aligned = bytemuck::try_cast_slice::<u8, i32>(part).is_ok();
        let finite = |b: &[u8; 4]| f32::from_le_bytes(*b).is_finite();
        match constant.values {
            Values::Integers | Values::Floats if !aligned => {
                return Err(format!("{what} end at byte {end}, which is not aligned"));
            }
            Values::Weights if part.contains(&i8::MIN.cast_unsigned()) => {
                return Err("a weight is -128".into());
            }
            Values::Floats if !part.as_chunks().0.iter().all(finite) => {
                return Err("a scale is not finite".into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// `count` values of the weights section.
///
/// # Panics
///
/// If they are not all there, which [`check`] refuses.
pub(super) fn part<T: AnyBitPattern>(section: &[u8], at: u32, count: usize) -> &[T] {
    bytemuck::cast_slice(&section[at as usize..][..count * size_of::<T>()])
}
