//! A robot's microcontroller on the serial line of a board that runs Tarsier: it turns towards the
//! best person, and stands still when it hears nothing of the camera.
//!
//! ```text
//! board --- UART, 115,200 baud, binary frames ---> Robot::receive --> Robot::drive --> motors
//! ```
//!
//! Nothing here allocates: a frame waits in a place of fixed size, and what it carries is read where
//! it lies. On a computer, the example reads the bytes of such a line from standard input:
//!
//! ```text
//! cargo run -p tarsier-wire --example microcontroller < src/wire/tests/data/recorded.frames
//! cargo build -p tarsier-wire --example microcontroller --target thumbv7em-none-eabihf
//! ```

#![cfg_attr(target_os = "none", no_std, no_main)]

use tarsier_wire::{
    State,
    binary::{self, DETECTION, HEADER, Payload},
    buffer::Fixed,
    frame::{Deframer, FrameError, encoded_length},
};

/// Detections of a report that there is room for. A report with more is passed over: set
/// `limits` and prompts of the board so that there are fewer, or give more room.
const DETECTIONS: usize = 32;

/// Bytes that wait for the end of their frame.
type Room = Fixed<{ encoded_length(HEADER + DETECTIONS * DETECTION) }>;

/// Index of the prompt that is followed. `prompts.list` of the board's configuration begins with it.
const PERSON: u16 = 0;

/// A score below this one moves nothing.
const LEAST: f32 = 0.5;

/// So many milliseconds without a report or a heartbeat, and the robot stands still.
const SILENCE_MS: u32 = 2500;

/// What the motors are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Drive {
    /// Nothing is known, or nobody is there.
    Stop,
    /// Someone is there: where, from -1 (left edge) to 1 (right edge).
    Turn(f32),
}

/// The reader of the line, and what it knows.
pub(crate) struct Robot {
    line: Deframer<Room>,
    heard_ms: u32,
    drive: Drive,
    /// Frames that came whole.
    pub(crate) whole: u32,
    /// Frames that did not.
    pub(crate) damaged: u32,
    /// Reports that were too long for [`Room`].
    pub(crate) long: u32,
}

impl Robot {
    /// A robot that has heard nothing; a `static` may hold it.
    pub(crate) const fn new() -> Self {
        Self {
            line: Deframer::fixed(),
            heard_ms: 0,
            drive: Drive::Stop,
            whole: 0,
            damaged: 0,
            long: 0,
        }
    }

    /// Takes what the UART has received, as from its interrupt or its DMA: pieces of any size.
    pub(crate) fn receive(&mut self, bytes: &[u8], now_ms: u32) {
        let Self {
            line,
            heard_ms,
            drive,
            whole,
            damaged,
            long,
        } = self;
        line.push(bytes, |frame| {
            let frame = match frame {
                Ok(frame) => frame,
                Err(FrameError::TooLong) => return *long += 1,
                Err(_) => return *damaged += 1,
            };
            *whole += 1;
            // what cannot be read is of a later version, and none of this program's business
            match binary::read(&frame) {
                Ok(Payload::Report(report)) => {
                    *heard_ms = now_ms;
                    let mut people = (report.detections.iter())
                        .filter(|found| found.prompt == PERSON && found.score >= LEAST);
                    let half = f32::from(report.width) / 2.0;
                    // best first
                    *drive = people.next().map_or(Drive::Stop, |person| {
                        Drive::Turn(person.bbox.center.x / half - 1.0)
                    });
                }
                Ok(Payload::Heartbeat(beat)) if beat.state == Some(State::Running) => {
                    *heard_ms = now_ms;
                }
                // paused, degraded, stopping: nobody looks
                Ok(Payload::Heartbeat(_)) => *drive = Drive::Stop,
                _ => {}
            }
        });
    }

    /// What the motors are to do now.
    pub(crate) fn drive(&self, now_ms: u32) -> Drive {
        if now_ms.wrapping_sub(self.heard_ms) > SILENCE_MS {
            return Drive::Stop;
        }
        self.drive
    }
}

impl Default for Robot {
    fn default() -> Self {
        Self::new()
    }
}

/// On a computer: the line is standard input, and the motors are standard output.
#[cfg(not(target_os = "none"))]
fn main() -> std::io::Result<()> {
    use std::io::Read;

    let (mut robot, mut last, mut bytes) = (Robot::new(), Drive::Stop, [0; 64]);
    let mut input = std::io::stdin().lock();
    let start = std::time::Instant::now();
    let now_ms = || start.elapsed().as_millis() as u32;
    loop {
        let n = input.read(&mut bytes)?;
        if n == 0 {
            break;
        }
        robot.receive(bytes.get(..n).unwrap_or_default(), now_ms());
        if robot.drive(now_ms()) != last {
            last = robot.drive(now_ms());
            println!("{last:?}");
        }
    }
    let Robot {
        whole,
        damaged,
        long,
        ..
    } = robot;
    println!("{whole} frames, {damaged} damaged, {long} too long");
    Ok(())
}

/// What a board support crate brings along: where the program begins, what a panic does, and a heap.
/// There is none here, and whatever asks for memory gets none.
#[cfg(target_os = "none")]
mod board {
    use core::alloc::{GlobalAlloc, Layout};

    use super::{Drive, Robot};

    struct NoHeap;

    #[allow(unsafe_code)]
    // SAFETY: no memory is ever given out.
    unsafe impl GlobalAlloc for NoHeap {
        unsafe fn alloc(&self, _: Layout) -> *mut u8 {
            core::ptr::null_mut()
        }

        unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
    }

    #[global_allocator]
    static HEAP: NoHeap = NoHeap;

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {
            core::hint::spin_loop();
        }
    }

    #[allow(unsafe_code)]
    // SAFETY: no other symbol of this program has that name.
    #[unsafe(no_mangle)]
    extern "C" fn _start() -> ! {
        let mut robot = Robot::new();
        let mut now_ms = 0_u32;
        loop {
            // of a real board: what its UART's buffer holds, its clock, its motors
            robot.receive(core::hint::black_box(&[]), now_ms);
            if let Drive::Turn(to) = robot.drive(now_ms) {
                core::hint::black_box(to);
            }
            now_ms = now_ms.wrapping_add(10);
        }
    }
}
