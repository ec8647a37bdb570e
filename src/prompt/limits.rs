//! How much there may be of what people ask for: in the library, in every command, and in the loop where `[limits]` says nothing
//! else.
//!
//! What goes over a limit is refused whole, before anything is looked up or encoded, with both numbers. The reasons stand in the
//! table of [`run::limits`](crate::run::limits), which also has those that only a loop needs.

use super::MAX_PROMPTS;

/// The longest name, synonym, group or sentence, in bytes.
pub const MAX_TEXT: usize = 512;

/// Most texts of `ground`, and of `stuff`.
pub const TASK_TEXTS: usize = 64;

/// How much a set of prompts may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetLimits {
    /// Prompts, those that are asked for twice included.
    pub prompts: usize,
    /// Bytes of one text.
    pub text_bytes: usize,
    /// Bytes of all texts and groups together.
    pub set_bytes: usize,
}

impl Default for SetLimits {
    fn default() -> Self {
        Self {
            prompts: 16_384,
            text_bytes: MAX_TEXT,
            set_bytes: 1 << 20,
        }
    }
}

impl SetLimits {
    /// Of names that a pack has and nobody asks for: as many as there can be.
    pub const PACK: Self = Self {
        prompts: MAX_PROMPTS,
        text_bytes: usize::MAX,
        set_bytes: usize::MAX,
    };

    /// Whether a set may hold so many prompts.
    ///
    /// # Errors
    ///
    /// Both numbers.
    pub fn count(&self, prompts: usize) -> Result<(), String> {
        let most = self.prompts;
        if prompts > most {
            return Err(format!("{prompts} prompts; a set holds up to {most}"));
        }
        Ok(())
    }

    /// Whether a set may have texts and groups of so many bytes.
    ///
    /// # Errors
    ///
    /// Both numbers.
    pub fn bytes(&self, bytes: usize) -> Result<(), String> {
        let most = self.set_bytes;
        if bytes > most {
            return Err(format!(
                "texts and groups of {bytes} bytes; those of a set have up to {most}"
            ));
        }
        Ok(())
    }
}

/// Whether a text has up to `most` bytes and no control character; `what` it is.
///
/// # Errors
///
/// How long it is and may be, or which control character it has.
pub fn text(what: &str, text: &str, most: usize) -> Result<(), String> {
    let length = text.len();
    if length > most {
        return Err(format!("{what} has {length} bytes; up to {most} are taken"));
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, c)) => Err(format!(
            "{what} has the control character U+{:04X} at byte {at}",
            u32::from(c)
        )),
        None => Ok(()),
    }
}

/// Whether a task may have so many texts; `what` they are for.
///
/// # Errors
///
/// Both numbers.
pub fn texts(what: &str, count: usize, most: usize) -> Result<(), String> {
    if count > most {
        return Err(format!("{count} texts of {what}; up to {most} are taken"));
    }
    Ok(())
}
