//! After a panic: what it may have left half done is made anew, and the loop goes on; or it ends,
//! where it would go on blind.
//!
//! | what panicked | what is lost | what is made anew |
//! |---|---|---|
//! | the loop, at a frame or a command | that one | graphs, decoder, report, task; tracks, but not which ids were given |
//! | the capturing thread | the frame at hand | the source |
//! | a link's thread, or that of standard output | its clients | the link, with the same socket |
//!
//! Each is a standing fault, told with every telemetry until the program is started again: it is a
//! bug, and whoever comes later should know. [`STRIKES`] panics in a row, of the loop or of the
//! capturing thread, without a frame that went well between them, end the program with
//! [`RunError::Blind`]: what makes it panic may be a prompt or a task that a command set, and a
//! service manager starts it without.

use std::{any::Any, time::Instant};

use super::{RunError, Runner, print::Printer, task::Task};
use crate::{
    capture::picture::Decoder,
    geometry::Size,
    link::Origin,
    protocol::{ErrorCode, Extras},
    scene::Report,
    supervise,
};

/// Panics in a row that end the program: with the pauses between them, one and a half seconds.
const STRIKES: u32 = 5;

/// Panics of the loop, and why it ends.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    in_a_row: u32,
    all: u32,
    /// Who waits for the answer to a command.
    pub(super) obeying: Option<(Origin, u32)>,
    end: Option<RunError>,
}

impl Strikes {
    /// A frame went well.
    pub(super) const fn passed(&mut self) {
        self.in_a_row = 0;
    }

    /// What the loop ended of, if not as it should.
    pub(super) fn end(self) -> Result<(), RunError> {
        self.end.map_or(Ok(()), Err)
    }
}

impl Runner {
    /// Ends the loop with this error.
    pub(super) fn give_up(&mut self, e: RunError) {
        self.condition.stop(&e.to_string());
        self.strikes.end.get_or_insert(e);
    }

    /// The loop panicked: makes anew what may be half done.
    pub(super) fn recover(&mut self, panic: &(dyn Any + Send)) {
        let why = supervise::text_of(panic);
        self.strikes.in_a_row += 1;
        self.strikes.all += 1;
        let bug =
            |id| crate::protocol::Reply::error(id, ErrorCode::Failed, format!("a bug: {why}"));
        if let Some((from, id)) = self.strikes.obeying.take() {
            self.links.reply(from, bug(id));
        } else {
            self.dropped.failed += 1;
        }
        // what was shown may be what it panicked of
        for (from, id) in self.forget_enrolments() {
            self.links.reply(from, bug(id));
        }
        let times = self.strikes.all;
        let text = format!("panicked, {times} in all, and was made anew: {why}");
        self.stand("inference", text);
        if self.strikes.in_a_row >= STRIKES {
            let text = format!("{STRIKES} panics in a row, the last: {why}");
            return self.give_up(RunError::Blind(text));
        }
        let settings = super::settings(&self.config);
        if let Err(e) = self.engine.model.renew(settings) {
            return self.give_up(RunError::Engine(e.into()));
        }
        self.decoder = Decoder::new(self.pixels());
        self.report = Report::new(0, std::time::SystemTime::UNIX_EPOCH, Size::new(0, 0));
        self.extras = Extras::default();
        self.follower.forget();
        match Task::new(&self.task.spec().clone(), &self.kit(), &|| false) {
            Ok(task) => self.task = task,
            Err((_, why)) => return self.give_up(RunError::Task(why)),
        }
        self.due = Instant::now() + supervise::pause_after(self.strikes.in_a_row);
    }

    /// Tells which threads panicked and ends the loop if nothing is seen for panics.
    pub(super) fn check_threads(&mut self, captures: u32) {
        if let Some(text) = self.capture.panicked() {
            self.stand("capture", text.clone());
            if captures + 1 >= STRIKES {
                let text = format!("the capturing thread {text}; {STRIKES} times without a frame");
                self.give_up(RunError::Blind(text));
            }
        }
        if let Some(text) = self.links.panicked() {
            self.stand("link", text);
        }
        if let Some(text) = self.printer.as_ref().and_then(Printer::panicked) {
            self.stand("print", text);
        }
    }

    /// Ends the loop when nobody reads standard output any more. That it cannot be written to is a
    /// fault, and the end only where there is no other link.
    pub(super) fn check_printer(&mut self) {
        let Some(printer) = &self.printer else { return };
        if printer.gone() {
            return self.condition.stop("nobody reads standard output any more");
        }
        match printer.trouble() {
            Some(why) if self.links.is_empty() => self.give_up(RunError::Output(why)),
            Some(why) if !self.stands("output") => {
                let text = format!("reports cannot be written to standard output: {why}");
                self.stand("output", text);
            }
            None if self.stands("output") => {
                self.lift("output");
                log::info!("reports are written to standard output again");
            }
            _ => {}
        }
    }

    fn stands(&self, part: &str) -> bool {
        self.standing.iter().any(|(standing, _)| *standing == part)
    }
}
