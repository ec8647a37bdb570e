//! Between the thread that captures and the thread that looks: the newest picture wins.
//!
//! A bounded queue whose writer never waits, unless the source was asked to wait: then no picture is lost. Buffers travel in a
//! circle, so after warm-up nothing is allocated here. heapless' own concurrent queues do not serve: neither lets a writer take its
//! oldest entry back safely.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::capture::picture::Picture;

/// Pictures that wait at most: one, or two where the source waits and should be reading the next one meanwhile.
const DEPTH: usize = 2;
/// Buffers in the circle: those that wait, one being filled, one being looked at.
const BUFFERS: usize = DEPTH + 2;

/// What the source is doing, as its thread sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SourceStatus {
    /// Why it cannot deliver at the moment.
    pub(super) lost: Option<String>,
    /// It will deliver no more.
    pub(super) ended: bool,
    /// Pictures that came damaged.
    pub(super) damaged: u64,
    /// Bytes that came.
    pub(super) bytes: u64,
    /// Bytes and damaged pictures up to the last whole one.
    pub(super) before: (u64, u64),
    /// What the stream is instead of what it was called, or seems to be.
    pub(super) seems: Option<String>,
    /// Panics of its thread since the last picture.
    pub(super) panics: u32,
}

/// The exchange of pictures.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inside {
    full: heapless::Deque<Box<Picture>, DEPTH>,
    free: heapless::Vec<Box<Picture>, BUFFERS>,
    late: u64,
    status: SourceStatus,
    closed: bool,
    /// When the last picture came, or the mailbox was made.
    arrived: Option<Instant>,
}

impl Inside {
    fn release(&mut self, picture: Box<Picture>) {
        // with no room the buffer is simply freed
        drop(self.free.push(picture));
    }
}

impl Mailbox {
    /// An empty mailbox.
    #[must_use]
    pub(super) fn new() -> Self {
        let mailbox = Self::default();
        mailbox.inside().arrived = Some(Instant::now());
        mailbox
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // nothing in here is left half done, whoever panicked
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer to fill.
    pub(super) fn buffer(&self) -> Box<Picture> {
        self.inside().free.pop().unwrap_or_default()
    }

    /// Hands a picture over. With `wait`, waits for room; else older pictures make room and count as late. False: nobody wants
    /// pictures any more.
    pub(super) fn put(&self, picture: Box<Picture>, wait: bool) -> bool {
        let mut inside = self.inside();
        if wait {
            while inside.full.is_full() && !inside.closed {
                let woken = self
                    .changed
                    .wait_timeout(inside, Duration::from_millis(100));
                inside = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        } else {
            while let Some(old) = inside.full.pop_front() {
                inside.late += 1;
                inside.release(old);
            }
        }
        if inside.closed {
            return false;
        }
        inside.arrived = Some(Instant::now());
        // there is room: it was made above
        drop(inside.full.push_back(picture));
        self.changed.notify_all();
        true
    }

    /// The oldest picture that waits; waits for one up to `patience`.
    pub(super) fn take(&self, patience: Duration) -> Option<Box<Picture>> {
        let inside = self.inside();
        let waiting =
            |inside: &mut Inside| inside.full.is_empty() && !inside.closed && !inside.status.ended;
        let woken = self.changed.wait_timeout_while(inside, patience, waiting);
        let picture = woken
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .full
            .pop_front();
        if picture.is_some() {
            self.changed.notify_all();
        }
        picture
    }

    /// Gives a buffer back.
    pub(super) fn give_back(&self, picture: Box<Picture>) {
        self.inside().release(picture);
    }

    /// Throws away what waits, as late.
    pub(super) fn discard(&self) {
        let mut inside = self.inside();
        while let Some(old) = inside.full.pop_front() {
            inside.late += 1;
            inside.release(old);
        }
        self.changed.notify_all();
    }

    /// Pictures that were overtaken.
    pub(super) fn late(&self) -> u64 {
        self.inside().late
    }

    /// Pictures that came damaged.
    pub(super) fn damaged(&self) -> u64 {
        self.inside().status.damaged
    }

    /// For how long nothing has come; nothing, while pictures wait.
    pub(super) fn silent(&self) -> Duration {
        let inside = self.inside();
        match inside.arrived {
            Some(arrived) if inside.full.is_empty() => arrived.elapsed(),
            _ => Duration::ZERO,
        }
    }

    /// Changes what is known of the source.
    pub(super) fn tell(&self, change: impl FnOnce(&mut SourceStatus)) {
        change(&mut self.inside().status);
        self.changed.notify_all();
    }

    /// What is known of the source.
    pub(super) fn status(&self) -> SourceStatus {
        self.inside().status.clone()
    }

    /// Nobody wants pictures any more: wakes a writer that waits.
    pub(super) fn close(&self) {
        self.inside().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn picture(sequence: u64) -> Box<Picture> {
        Box::new(Picture {
            sequence,
            ..Picture::default()
        })
    }

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn the_newest_wins_and_the_others_are_counted() {
        let mailbox = Mailbox::new();
        for sequence in 0..10 {
            assert!(mailbox.put(picture(sequence), false));
        }
        assert_eq!(mailbox.take(NOW).map(|p| p.sequence), Some(9));
        assert_eq!(mailbox.take(NOW), None);
        assert_eq!(mailbox.late(), 9);
    }

    #[test]
    fn a_source_that_waits_loses_nothing() {
        let mailbox = Arc::new(Mailbox::new());
        let writer = Arc::clone(&mailbox);
        let thread = std::thread::spawn(move || {
            for sequence in 0..500 {
                let mut buffer = writer.buffer();
                buffer.sequence = sequence;
                assert!(writer.put(buffer, true));
            }
        });
        for expected in 0..500 {
            let picture = mailbox
                .take(Duration::from_secs(10))
                .expect("a picture in time");
            assert_eq!(picture.sequence, expected);
            mailbox.give_back(picture);
        }
        thread.join().expect("the writer is done");
        assert_eq!(mailbox.late(), 0);
        assert!(mailbox.inside().free.len() <= BUFFERS);
    }

    #[test]
    fn closing_wakes_a_writer_that_waits() {
        let mailbox = Arc::new(Mailbox::new());
        let writer = Arc::clone(&mailbox);
        let thread = std::thread::spawn(move || while writer.put(picture(0), true) {});
        while mailbox.inside().full.len() < DEPTH {
            std::thread::yield_now();
        }
        mailbox.close();
        thread.join().expect("the writer left");
    }
}
