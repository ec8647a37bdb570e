//! The one error of the library's front door: what kind it is, what it was about, and its cause.

use std::{error::Error as StdError, fmt};

/// What kind of thing went wrong, for programs; for people there is [`Error`]'s text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file is not there, or the system does not let it be read.
    Missing,
    /// A model's file is damaged or contradicts itself.
    Pack,
    /// A model is larger than is allowed.
    Limit,
    /// A model's own frame does not come to what it must on this machine.
    SelfTest,
    /// A file of words is damaged or belongs to another model.
    Words,
    /// A prompt is empty, unknown, or cannot be encoded.
    Prompt,
    /// A photo or a frame cannot be used.
    Photo,
    /// The model has no network for what was asked.
    Unsupported,
    /// The system refuses a thread.
    Threads,
    /// What was checked failed all the same: a bug.
    Internal,
}

/// Why something could not be done.
///
/// `{}` is what this error says itself, without its cause; `{:#}` and `{:?}` add the causes, each
/// once, which [`source`](StdError::source) gives one by one.
///
/// ```
/// # use std::error::Error;
/// let error = tarsier::Model::open("no/such.tarsier").expect_err("there is none");
/// assert_eq!(error.kind(), tarsier::ErrorKind::Missing);
/// assert_eq!(error.to_string(), "cannot open pack no/such.tarsier");
/// assert!(format!("{error:#}").contains("such.tarsier: No such file"));
/// assert!(error.source().is_some());
/// ```
pub struct Error {
    kind: ErrorKind,
    context: Option<String>,
    cause: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// An error of this kind, of what failed, or of words.
    pub(crate) fn new(kind: ErrorKind, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind,
            context: None,
            cause: cause.into(),
        }
    }

    /// The graphs of a pack, or its manifest, do not fit each other.
    pub(crate) fn mismatch(why: impl fmt::Display) -> Self {
        let why = format!("the pack contradicts itself: {why}");
        Self::new(ErrorKind::Pack, why)
    }

    /// A pack has no network for what was asked.
    pub(crate) fn lacks(what: &str) -> Self {
        Self::new(ErrorKind::Unsupported, format!("this pack has no {what}"))
    }

    /// The same, said of something.
    #[must_use]
    pub(crate) fn of(mut self, what: impl fmt::Display) -> Self {
        self.context = Some(match self.context.take() {
            Some(context) => format!("{what}: {context}"),
            None => what.to_string(),
        });
        self
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(context) = &self.context {
            write!(f, "{context}: ")?;
        }
        let text = self.cause.to_string();
        // what is below says its own cause along with itself
        let own = self.cause.source().map(|source| format!(": {source}"));
        let own = own.and_then(|cause| text.strip_suffix(cause.as_str()));
        match own {
            Some(own) if !f.alternate() => f.write_str(own),
            _ => f.write_str(&text),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#} ({:?})", self.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.source()
    }
}
