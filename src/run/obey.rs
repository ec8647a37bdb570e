//! What commands do. Every one is answered once, after it was done or refused.

use super::{Runner, engine::Engine, prompts::Refusal, sandbox, settings, task::Task};
use crate::{
    capture::picture::Crop,
    geometry::Size,
    mask::BITS_SIDE,
    protocol::{Answer, Command, ErrorCode, Reply, WIRE_VERSION, command::Region},
    report::pixels::base64,
    scene::Report,
    supervise,
};

impl Runner {
    /// Obeys what has come since the last frame.
    pub(super) fn obey(&mut self) {
        // taken one by one: obeying needs the links, to answer
        while let Some((from, request)) = self.next_command() {
            log::debug!("command {}: {:?}", request.id, request.command);
            // whoever asked is answered even if this panics
            self.strikes.obeying = Some((from, request.id));
            supervise::trap("command");
            if let Command::Enrol { name, region } = request.command {
                // answered when a frame has come
                if let Err((code, text)) = self.enrol(from, request.id, (name, region)) {
                    self.links.reply(from, Reply::error(request.id, code, text));
                }
                self.strikes.obeying = None;
                continue;
            }
            let reply = match self.done(request.command) {
                Ok(answer) => Reply::Ack {
                    id: request.id,
                    answer,
                },
                Err((code, text)) => Reply::error(request.id, code, text),
            };
            self.links.reply(from, reply);
            self.strikes.obeying = None;
        }
    }

    fn next_command(&self) -> Option<(crate::link::Origin, crate::protocol::Request)> {
        self.links.commands().next()
    }

    fn done(&mut self, command: Command) -> Result<Answer, Refusal> {
        match command {
            Command::Hello {} => Ok(Answer::Hello {
                wire: WIRE_VERSION,
                version: env!("CARGO_PKG_VERSION").into(),
                run: self.links.run(),
                pack: self.engine.name(),
                prompts_version: self.prompts.version(),
                prompts: self.prompts.count(),
            }),
            Command::GetPrompts { from, count } => Ok(Answer::Prompts {
                prompts_version: self.prompts.version(),
                count: self.prompts.count(),
                from,
                names: self.prompts.page(from, count),
            }),
            Command::SetPrompts { prompts } => {
                self.prompts.set(prompts, &mut self.engine)?;
                Ok(self.prompts_changed())
            }
            Command::AddPrompts { prompts } => {
                self.prompts.add(prompts, &mut self.engine)?;
                Ok(self.prompts_changed())
            }
            Command::RemovePrompts { prompts } => {
                self.prompts.remove(&prompts, &mut self.engine)?;
                Ok(self.prompts_changed())
            }
            Command::SetThreshold { threshold, prompt } => {
                self.prompts
                    .set_threshold(threshold, prompt.as_deref(), &mut self.engine)?;
                Ok(self.prompts_changed())
            }
            Command::SetRate { fps } => {
                self.rate_fps = fps.map(|fps| fps.clamp(0.001, 1000.0));
                self.due = std::time::Instant::now();
                Ok(Answer::Done)
            }
            Command::SetRegion { region } => self.set_region(region),
            Command::Pause {} => {
                self.condition.set_paused(true);
                Ok(Answer::Done)
            }
            Command::Resume {} => {
                self.condition.set_paused(false);
                Ok(Answer::Done)
            }
            Command::ReportOnce {} => {
                self.once += 1;
                Ok(Answer::Done)
            }
            Command::Mask {
                sequence,
                detection,
                bits,
            } => self.mask(sequence, detection, bits),
            Command::SetTask { task } => {
                self.task = Task::new(&task, &mut self.engine)?;
                Ok(Answer::Done)
            }
            Command::Enrol { .. } => unreachable!("it waits for a frame"),
            Command::Telemetry {} => Ok(Answer::Telemetry(Box::new(self.telemetry()))),
            Command::SelfTest {} => self.self_test(),
            Command::ReloadPack {} => self.reload_pack(),
        }
    }

    fn prompts_changed(&mut self) -> Answer {
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
        let invalid = |why: String| (ErrorCode::Invalid, why);
        if !self.engine.pipeline.segments() {
            let why = format!("{} makes no masks", self.engine.name());
            return Err((ErrorCode::Unsupported, why));
        }
        let (Some(last), Some(part)) = (self.sequence.checked_sub(1), self.part) else {
            return Err(invalid("nothing has been reported yet".into()));
        };
        if sequence != last {
            return Err(invalid(format!("the last report is {last}: pause first")));
        }
        let Some(found) = self.report.detections.get(detection as usize) else {
            let count = self.report.detections.len();
            return Err(invalid(format!("report {last} has {count} detections")));
        };
        let mut one = Report::new(last, self.report.captured, part.size);
        let (mut found, (x, y)) = (*found, (part.x as f32, part.y as f32));
        let b = &mut found.bbox;
        (b.x0, b.y0, b.x1, b.y1) = (b.x0 - x, b.y0 - y, b.x1 - x, b.y1 - y);
        let _ = one.detections.push(found); // there is room for one
        let segmented = self.engine.pipeline.segment(&mut one);
        segmented.map_err(|e| (ErrorCode::Failed, e.to_string()))?;
        let Some(mask) = one.masks.first() else {
            return Err(invalid(
                "its frame is gone: the pack was tested or replaced".into(),
            ));
        };
        if bits {
            let bits = mask.bits(&one.detections[0].bbox, part.size.height);
            return Ok(Answer::Bits {
                size: [BITS_SIDE; 2],
                bits: base64(&bits),
                area: mask.area(),
            });
        }
        let mut counts = String::new();
        mask.compressed(&mut counts);
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
        self.engine.self_test().map_err(|e| failed(e.to_string()))?;
        let network = if self.config.sandbox.enabled {
            sandbox::probe().map_err(failed)?;
            sandbox::probe_list().map_err(failed)?;
            "network sockets are refused, and so are system calls that are not needed"
        } else {
            "network sockets are not looked at: the sandbox is off"
        };
        Ok(Answer::Text(format!(
            "the golden frame of {} is as its manifest says; {network}",
            self.engine.name()
        )))
    }

    /// The pack's file again; what is in use goes on if it fails.
    pub(super) fn reload_pack(&mut self) -> Result<Answer, Refusal> {
        let settings = settings(&self.config);
        let open = Engine::open(&self.path, self.execution, settings, &self.config);
        let mut engine = open.map_err(|e| (ErrorCode::Failed, e.to_string()))?;
        engine.adopt(&self.engine);
        let iou = self.config.prompts.iou;
        let prompts = self.prompts.made_again(iou, &mut engine)?;
        self.task = Task::new(self.task.spec(), &mut engine)?;
        self.prompts = prompts;
        self.engine = engine;
        self.follower.forget_looks();
        self.lift("pack");
        self.pack_file_as_read();
        self.tell_words();
        self.tell_prompts();
        Ok(Answer::Text(self.engine.name()))
    }
}
