//! A source that delivers, and nothing of it is a picture.

use std::time::{Duration, Instant};

use super::mailbox::SourceStatus;

/// Pictures in a row that have no pixels: whole for the source, and damaged for the decoder.
#[derive(Debug, Default)]
pub(super) struct Barren {
    since: Option<Instant>,
    count: u64,
    bytes: u64,
    /// Whether any frame was looked at since the start.
    fertile: bool,
}

impl Barren {
    /// A picture of so many bytes was damaged.
    pub(super) fn damaged(&mut self, bytes: usize) {
        self.since.get_or_insert_with(Instant::now);
        self.count += 1;
        self.bytes += bytes as u64;
    }

    /// A picture was a frame.
    pub(super) fn good(&mut self) {
        *self = Self {
            fertile: true,
            ..Self::default()
        };
    }

    /// Whether there was no frame at all.
    pub(super) const fn none(&self) -> bool {
        !self.fertile
    }

    /// Whether pictures come and for so long none of them was a frame.
    pub(super) fn lasts(&self, patience: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() > patience)
    }

    /// What came since the last frame: "N bytes, M damaged, none whole"; nothing, if nothing came.
    pub(super) fn words(&self, status: &SourceStatus) -> Option<String> {
        let (bytes, damaged) = status.before;
        let bytes = status.bytes.saturating_sub(bytes) + self.bytes;
        let damaged = status.damaged.saturating_sub(damaged) + self.count;
        let seems = status.seems.as_ref();
        let seems = seems.map_or(String::new(), |what| format!(" ({what})"));
        (bytes > 0).then(|| format!("{bytes} bytes, {damaged} damaged, none whole{seems}"))
    }

    /// Why a source that ended is none.
    pub(super) fn verdict(&self, name: &str, status: &SourceStatus) -> String {
        let damaged = status.damaged + self.count;
        let came = match status.bytes {
            // photos are files, not bytes of a stream
            0 if damaged > 0 => format!("{damaged} damaged, none whole"),
            bytes => format!("{bytes} bytes, {damaged} damaged, none whole"),
        };
        match &status.seems {
            Some(what) => format!("{name}: {what} ({came})"),
            None => format!("{name}: {came}"),
        }
    }
}
