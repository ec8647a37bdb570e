//! `array.map(f)` that becomes part of the loop it stands in.

/// `f` of each value.
///
/// The standard library's `map` is a generic function without `#[inline]`: built in several codegen units, as another crate's profile
/// may have it, it was called for each row of weights, with registers through memory, and a frame took seven times as long.
#[inline(always)]
pub(super) fn each<T: Copy, U, const N: usize>(
    values: [T; N],
    mut f: impl FnMut(T) -> U,
) -> [U; N] {
    std::array::from_fn(|i| f(values[i]))
}
