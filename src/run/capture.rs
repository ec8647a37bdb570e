//! The thread that captures: opens the source, hands pictures over, opens it again when it is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::mailbox::Mailbox;
use crate::{
    capture::{self, FrameSource, Next, config::SourceConfig},
    supervise::{self, Watch},
};

/// How long one wait for a picture is, and so how soon the thread notices that it is to end.
const PATIENCE: Duration = Duration::from_millis(100);
/// The pauses between two attempts to open a lost source: doubled from the first to the last.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];

/// The capturing thread. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Capture {
    stop: Arc<AtomicBool>,
    mailbox: Arc<Mailbox>,
    watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Starts capturing into a mailbox of its own; photos of more than `limit` pixels count as damaged.
    pub(super) fn start(config: SourceConfig, limit: u64) -> std::io::Result<Self> {
        let (stop, mailbox) = (Arc::default(), Arc::new(Mailbox::new()));
        let watch = Arc::<Watch>::default();
        let worker = Worker {
            config,
            limit,
            stop: Arc::clone(&stop),
            mailbox: Arc::clone(&mailbox),
        };
        let thread = std::thread::Builder::new().name("capture".into()).spawn({
            let watch = Arc::clone(&watch);
            move || worker.run(&watch)
        })?;
        Ok(Self {
            stop,
            mailbox,
            watch,
            thread: Some(thread),
        })
    }

    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// What the thread panicked of since the last call.
    pub(super) fn panicked(&self) -> Option<String> {
        self.watch.take()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.mailbox.close();
        // a driver that hangs in the kernel must not hold up a clean end
        let end = Instant::now() + Duration::from_secs(1);
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() {
                let _ = thread.join();
            } else {
                log::warn!("the source does not let go; left behind");
            }
        }
    }
}

struct Worker {
    config: SourceConfig,
    limit: u64,
    stop: Arc<AtomicBool>,
    mailbox: Arc<Mailbox>,
}

impl Worker {
    fn run(&self, watch: &Watch) {
        // kept over a panic: what was counted stays counted, and a capture time never goes back
        let (mut damaged, mut newest) = (0, None);
        let mut lives = 0u32;
        supervise::keep(
            watch,
            || self.stopped(),
            || {
                lives += 1;
                if lives > 1 {
                    self.mailbox.tell(|status| {
                        status.lost = Some("the capturing thread panicked".into());
                        status.panics += 1;
                    });
                }
                self.live(&mut damaged, &mut newest);
            },
        );
    }

    fn live(&self, damaged: &mut u64, newest: &mut Option<u64>) {
        let mut pause = BACK_OFF[0];
        while !self.stopped() {
            let lost = match capture::open(&self.config, self.limit) {
                Ok(mut source) => self.pump(source.as_mut(), &mut pause, damaged, newest),
                Err(e) => Some(e),
            };
            let Some(e) = lost else {
                return;
            };
            if let capture::CaptureError::Foreign { reason, last, .. } = &e {
                self.mailbox.tell(|status| {
                    (status.seems, status.ended) = (Some(reason.clone()), *last);
                });
                if *last {
                    return;
                }
            }
            self.mailbox
                .tell(|status| status.lost = Some(e.to_string()));
            let end = Instant::now() + pause;
            while !self.stopped() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20).min(pause));
            }
            pause = (pause * 2).min(BACK_OFF[1]);
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Hands pictures over until the source is lost, which is what is returned, or it ended.
    fn pump(
        &self,
        source: &mut dyn FrameSource,
        pause: &mut Duration,
        damaged: &mut u64,
        newest: &mut Option<u64>,
    ) -> Option<capture::CaptureError> {
        let before = *damaged;
        let bytes_before = self.mailbox.status().bytes;
        let mut lost = true;
        while !self.stopped() {
            let mut picture = self.mailbox.buffer();
            let next = source.next(&mut picture, PATIENCE);
            *damaged = source.damaged() + before;
            let bytes = source.bytes() + bytes_before;
            let whole = matches!(next, Ok(Next::Frame));
            self.mailbox.tell(|status| {
                (status.damaged, status.bytes) = (*damaged, bytes);
                if whole {
                    (status.before, status.seems) = ((bytes, *damaged), None);
                }
            });
            match next {
                Ok(Next::Frame) => {
                    supervise::trap("capture");
                    if lost {
                        self.mailbox.tell(|status| {
                            status.lost = None;
                            status.panics = 0;
                        });
                        lost = false;
                        *pause = BACK_OFF[0];
                    }
                    // a driver's own stamps and ours may overlap; a capture time never goes back
                    let least = newest.map_or(0, |newest| newest + 1);
                    picture.captured_ns = picture.captured_ns.max(least);
                    *newest = Some(picture.captured_ns);
                    if !self.mailbox.put(picture, self.config.waits()) {
                        return None;
                    }
                }
                Ok(Next::Nothing) => self.mailbox.give_back(picture),
                Ok(Next::Ended) => {
                    let seems = source.seems().map(|what| format!("it seems to be {what}"));
                    self.mailbox
                        .tell(|status| (status.seems, status.ended) = (seems, true));
                    return None;
                }
                Err(e) => return Some(e),
            }
        }
        None
    }
}
