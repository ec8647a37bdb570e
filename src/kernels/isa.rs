//! Levels of instructions, and the proof that this CPU runs one of them.
//!
//! Detection happens at run time, so one binary serves every board of an
//! architecture. A level that cannot exist on this architecture is known by
//! name all the same: a configuration written for one board is refused on
//! another with a reason, not as a typing error.

use std::{error, fmt, str::FromStr};

/// A set of instructions that kernels are written for, plainest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Portable Rust: the specification of every kernel.
    Scalar,
    /// x86-64 with AVX2: products of 16-bit integers.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL, DQ and VNNI: dot products of four bytes.
    Avx512Vnni,
    /// AArch64 as every such CPU has it: widening multiplications.
    Neon,
    /// AArch64 with the dot-product extension: `SDOT`.
    NeonDot,
    /// AArch64 with the matrix extension for integers too: `SMMLA`.
    NeonI8mm,
}

impl Level {
    /// Every level there is, on any architecture; later ones are faster.
    pub const ALL: [Self; 6] = [
        Self::Scalar,
        Self::Avx2,
        Self::Avx512Vnni,
        Self::Neon,
        Self::NeonDot,
        Self::NeonI8mm,
    ];

    /// The name used in options, logs and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512Vnni => "avx512_vnni",
            Self::Neon => "neon",
            Self::NeonDot => "neon_dot",
            Self::NeonI8mm => "neon_i8mm",
        }
    }

    /// Whether this CPU has everything the level's kernels enable.
    fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                // avx2 too: some operations gain nothing from wider registers
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => {
                std::arch::is_aarch64_feature_detected!("neon")
                    && std::arch::is_aarch64_feature_detected!("dotprod")
            }
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => {
                Self::NeonDot.is_available() && std::arch::is_aarch64_feature_detected!("i8mm")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512Vnni => false,
            #[cfg(not(target_arch = "aarch64"))]
            Self::Neon | Self::NeonDot | Self::NeonI8mm => false,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Level {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        Self::ALL
            .into_iter()
            .find(|level| level.name() == name)
            .ok_or_else(|| IsaError::Unknown {
                name: name.to_owned(),
            })
    }
}

/// Proof that this CPU runs the instructions of one [`Level`].
///
/// The field is private and [`available`](Isa::available) is the only way in, so
/// holding an `Isa` is what makes calling a kernel of that level sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Level);

impl Isa {
    /// The fastest level of this CPU.
    #[must_use]
    pub fn best() -> Self {
        Self::available().last().unwrap_or(Self(Level::Scalar))
    }

    /// Every level of this CPU, plainest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Level::ALL
            .into_iter()
            .filter(|level| level.is_available())
            .map(Self)
    }

    /// The level of that name, if this CPU has it.
    ///
    /// # Errors
    ///
    /// [`IsaError::Unknown`] if no level has that name,
    /// [`IsaError::Missing`] if this CPU lacks its instructions.
    pub fn named(name: &str) -> Result<Self, IsaError> {
        let level = name.parse()?;
        Self::available()
            .find(|isa| isa.0 == level)
            .ok_or(IsaError::Missing { level })
    }

    /// The level this is the proof of.
    #[must_use]
    pub const fn level(self) -> Level {
        self.0
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a level that was asked for cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IsaError {
    /// No level has that name.
    Unknown {
        /// The name that was asked for.
        name: String,
    },
    /// The level exists, and this CPU does not run it.
    Missing {
        /// The level that was asked for.
        level: Level,
    },
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, levels: &mut dyn Iterator<Item = Level>| {
            for (i, level) in levels.enumerate() {
                let comma = if i > 0 { ", " } else { "" };
                write!(f, "{comma}{level}")?;
            }
            Ok(())
        };
        match self {
            Self::Unknown { name } => {
                write!(f, "unknown level {name:?}, the levels are ")?;
                list(f, &mut Level::ALL.into_iter())
            }
            Self::Missing { level } => {
                write!(f, "this CPU has no {level}, it has ")?;
                list(f, &mut Isa::available().map(Isa::level))
            }
        }
    }
}

impl error::Error for IsaError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_its_level() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
    }

    #[test]
    fn scalar_is_everywhere_and_best_is_available() {
        assert_eq!(Isa::named("scalar").map(Isa::level), Ok(Level::Scalar));
        assert!(Isa::available().any(|isa| isa == Isa::best()));
    }

    #[test]
    fn an_unknown_name_is_told_from_a_missing_level() {
        let unknown = Isa::named("sse9").unwrap_err().to_string();
        assert_eq!(
            unknown,
            "unknown level \"sse9\", the levels are scalar, avx2, avx512_vnni, neon, neon_dot, neon_i8mm"
        );
        let foreign = if cfg!(target_arch = "x86_64") {
            Level::Neon
        } else {
            Level::Avx2
        };
        let missing = Isa::named(foreign.name()).unwrap_err();
        assert_eq!(missing, IsaError::Missing { level: foreign });
        assert!(missing.to_string().contains("it has scalar"), "{missing}");
    }
}
