//! What commands do. Every one is answered once, after it was done or refused.

use std::time::{Duration, Instant};

use super::{
    Runner,
    prompts::{Change, Refusal},
    sandbox,
};
use crate::{
    geometry::{Crop, Size},
    link::Origin,
    mask::BITS_SIDE,
    protocol::{Answer, Command, ErrorCode, Reply, WIRE_VERSION, command::Region},
    report::pixels::base64,
    scene::Report,
    supervise::{self, let_go},
};

/// How long commands are obeyed before the next frame has its turn.
const TURN: Duration = Duration::from_millis(2);

/// Whether a command takes the loop as long as a frame does, so that only one is obeyed between two frames, and after the others:
/// a client that asks for nothing else must not make everybody wait.
const fn is_slow(command: &Command) -> bool {
    matches!(command, Command::SelfTest {} | Command::Mask { .. })
}

/// Whether it takes long to free.
const fn is_large(command: &Command) -> bool {
    const MANY: usize = 1000;
    match command {
        Command::SetPrompts { prompts } | Command::AddPrompts { prompts } => prompts.len() > MANY,
        Command::RemovePrompts { prompts } => prompts.len() > MANY,
        _ => false,
    }
}

impl Runner {
    /// Obeys what has come since the last frame, as far as there is time.
    pub(super) fn obey(&mut self) {
        let end = Instant::now() + TURN;
        // taken one by one: obeying needs the links, to answer
        while let Some((from, request)) = self.links.command(|command| !is_slow(command)) {
            self.answer(from, request);
            if Instant::now() >= end {
                break;
            }
        }
        if let Some((from, request)) = self.links.command(is_slow) {
            self.answer(from, request);
        }
    }

    /// Obeys one command, and answers it unless that waits for something.
    fn answer(&mut self, from: Origin, request: crate::protocol::Request) {
        log::debug!("command {}: {:?}", request.id, request.command);
        let id = request.id;
        // whoever asked is answered even if this panics
        self.strikes.obeying = Some((from, id));
        supervise::trap("command");
        let done = match self.config.limits.command(&request.command) {
            Ok(()) => self.done((from, id), request.command),
            Err(why) => {
                if is_large(&request.command) {
                    let_go(request);
                }
                Err((ErrorCode::Invalid, why))
            }
        };
        match done {
            Ok(Some(answer)) => self.links.reply(from, Reply::Ack { id, answer }),
            // answered when it holds
            Ok(None) => {}
            Err((code, text)) => self.links.reply(from, Reply::error(id, code, text)),
        }
        self.strikes.obeying = None;
    }

    /// What a command answers; none where it waits for a frame, or for what is prepared.
    fn done(&mut self, asked: (Origin, u32), command: Command) -> Result<Option<Answer>, Refusal> {
        let answer = match command {
            Command::Hello {} => Answer::Hello {
                wire: WIRE_VERSION,
                version: env!("CARGO_PKG_VERSION").into(),
                run: self.links.run(),
                pack: self.engine.model.name(),
                prompts_version: self.prompts.version(),
                prompts: self.prompts.count(),
            },
            Command::GetPrompts { from, count } => Answer::Prompts {
                prompts_version: self.prompts.version(),
                count: self.prompts.count(),
                from,
                names: self.prompts.page(from, count),
            },
            Command::SetPrompts { prompts } => {
                return self.change_prompts(asked, Change::Set(prompts));
            }
            Command::AddPrompts { prompts } => {
                return self.change_prompts(asked, Change::Add(prompts));
            }
            Command::RemovePrompts { prompts } => {
                return self.change_prompts(asked, Change::Remove(prompts));
            }
            Command::SetThreshold { threshold, prompt } => {
                return self.change_prompts(asked, Change::Threshold(threshold, prompt));
            }
            Command::SetRate { fps } => {
                self.rate_fps = fps;
                self.due = Instant::now();
                Answer::Done
            }
            Command::SetRegion { region } => self.set_region(region)?,
            Command::Pause {} => {
                self.condition.set_paused(true);
                Answer::Done
            }
            Command::Resume {} => {
                self.condition.set_paused(false);
                Answer::Done
            }
            Command::ReportOnce {} => {
                self.once = self.once.saturating_add(1);
                Answer::Done
            }
            Command::Mask {
                sequence,
                detection,
                bits,
            } => self.mask(sequence, detection, bits)?,
            Command::SetTask { task } => return self.change_task(asked, task),
            Command::Enrol { name, region } => {
                self.enrol(asked, (name, region))?;
                return Ok(None);
            }
            Command::GetPresence { from, count } => self.presence(from, count)?,
            Command::Telemetry {} => Answer::Telemetry(Box::new(self.telemetry())),
            Command::SelfTest {} => self.self_test()?,
            Command::ReloadPack {} => {
                self.reload_pack(asked)?;
                return Ok(None);
            }
        };
        Ok(Some(answer))
    }

    pub(super) fn prompts_changed(&mut self) -> Answer {
        self.tell_prompts();
        Answer::PromptsVersion(self.prompts.version())
    }

    fn set_region(&mut self, region: Option<Region>) -> Result<Answer, Refusal> {
        let crop = region.map(|r| Crop {
            x: r.x_offset,
            y: r.y_offset,
            size: Size::new(r.width, r.height),
        });
        if let (Some(crop), Some(frame)) = (crop, self.frame)
            && crop.within(frame).is_none()
        {
            let why = format!("it lies outside the frame of {frame}");
            return Err((ErrorCode::Invalid, why));
        }
        self.region = crop;
        Ok(Answer::Done)
    }

    /// The mask of one detection of the last report, from what the pipeline keeps of its frame.
    fn mask(&mut self, sequence: u64, detection: u32, bits: bool) -> Result<Answer, Refusal> {
        let gone = |why: String| (ErrorCode::NotFound, why);
        if !self.engine.model.abilities().masks {
            let why = format!("{} makes no masks", self.engine.model.name());
            return Err((ErrorCode::Unsupported, why));
        }
        let (Some(last), Some(part)) = (self.sequence.checked_sub(1), self.part) else {
            return Err(gone("nothing has been reported yet".into()));
        };
        if sequence != last {
            return Err(gone(format!("the last report is {last}: pause first")));
        }
        let Some(found) = self.report.detections.get(detection as usize) else {
            let count = self.report.detections.len();
            return Err(gone(format!("report {last} has {count} detections")));
        };
        let whole = self.report.size;
        let mut one = Report::new(last, self.report.captured, whole);
        one.detections.push(*found);
        let segmented = self.engine.model.pipeline_mut().segment(&mut one);
        segmented.map_err(|e| (ErrorCode::Failed, format!("{e:#}")))?;
        let Some(mask) = one.masks.first() else {
            return Err(gone(
                "its frame is gone: the pack was tested or replaced".into(),
            ));
        };
        if bits {
            let bits = mask.bits(&one.detections[0].bbox, whole.height);
            return Ok(Answer::Bits {
                size: [BITS_SIDE; 2],
                bits: base64(&bits),
                area: mask.area(),
            });
        }
        let mut counts = String::new();
        // a String takes everything
        let _ = mask.cut(whole.height, part).compressed(&mut counts);
        Ok(Answer::Mask {
            size: [part.size.height, part.size.width],
            offset: [part.x, part.y],
            counts,
            area: mask.area(),
        })
    }

    /// The golden frame through the pipeline in use, and a try at the network.
    fn self_test(&mut self) -> Result<Answer, Refusal> {
        let failed = |why: String| (ErrorCode::Failed, why);
        let tested = self.engine.model.self_test();
        tested.map_err(|e| failed(format!("{e:#}")))?;
        let network = if self.config.sandbox.enabled {
            sandbox::probe().map_err(failed)?;
            sandbox::probe_list().map_err(failed)?;
            "network sockets are refused, and so are system calls that are not needed"
        } else {
            "network sockets are not looked at: the sandbox is off"
        };
        Ok(Answer::Text(format!(
            "the golden frame of {} is as its manifest says; {network}",
            self.engine.model.name()
        )))
    }
}
