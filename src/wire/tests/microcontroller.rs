//! The example for a microcontroller, on a computer, with what a serial line of `tarsier run` said.
//!
//! `data/recorded.frames` are the bytes of a pseudo-terminal, as `data/README.md` says.

#[path = "../examples/microcontroller.rs"]
#[allow(dead_code)]
mod microcontroller;

use microcontroller::{Drive, Robot};
use tarsier_wire::{
    binary::{self, Payload},
    frame::Deframer,
};

const RECORDED: &[u8] = include_bytes!("data/recorded.frames");

/// What each report of the recording is to do, and how many frames there are, by another way: on the
/// heap, all at once.
fn expected() -> (Vec<Drive>, u32) {
    let (mut drives, mut frames) = (Vec::new(), 0);
    Deframer::new().push(RECORDED, |frame| {
        let frame = frame.expect("a whole frame");
        frames += 1;
        if let Ok(Payload::Report(report)) = binary::read(&frame) {
            let owned = binary::read_report(frame.payload).expect("a report");
            let person = owned.detections.iter().find(|d| d.prompt == 0);
            let width = f32::from(report.width);
            drives.push(match person.filter(|d| d.score >= 0.5) {
                Some(person) => Drive::Turn(person.bbox.center.x / (width / 2.0) - 1.0),
                None => Drive::Stop,
            });
        }
    });
    (drives, frames)
}

#[test]
fn the_recorded_stream_is_read_in_pieces_of_any_size() {
    let (drives, frames) = expected();
    assert!(drives.contains(&Drive::Stop), "{drives:?}");
    assert!(drives.iter().any(|d| *d != Drive::Stop), "{drives:?}");
    for size in [1, 2, 3, 7, 64, 1000, RECORDED.len()] {
        let mut robot = Robot::new();
        for piece in RECORDED.chunks(size) {
            robot.receive(piece, 0);
        }
        assert_eq!((robot.whole, robot.damaged, robot.long), (frames, 0, 0));
        assert_eq!(Some(&robot.drive(0)), drives.last(), "pieces of {size}");
    }
    // each report as it comes
    let (mut robot, mut seen) = (Robot::new(), vec![Drive::Stop]);
    for byte in RECORDED {
        robot.receive(&[*byte], 0);
        if seen.last() != Some(&robot.drive(0)) {
            seen.push(robot.drive(0));
        }
    }
    let mut changes = vec![Drive::Stop];
    for drive in drives {
        if changes.last() != Some(&drive) {
            changes.push(drive);
        }
    }
    assert_eq!(seen, changes);
}

#[test]
fn every_flipped_byte_of_the_recorded_stream_costs_at_most_two_frames_and_moves_nothing_wrong() {
    let (drives, frames) = expected();
    for at in (0..RECORDED.len()).step_by(13) {
        let mut bytes = RECORDED.to_vec();
        bytes[at] ^= 0x55;
        let mut robot = Robot::new();
        for piece in bytes.chunks(17) {
            robot.receive(piece, 0);
            let drive = robot.drive(0);
            assert!(drive == Drive::Stop || drives.contains(&drive), "{at}");
        }
        assert!(robot.whole + 2 >= frames, "byte {at}: {}", robot.whole);
    }
}

#[test]
fn silence_stops_the_robot() {
    let mut robot = Robot::new();
    // until somebody is there
    let mut moves = RECORDED.iter().position(|byte| {
        robot.receive(&[*byte], 100);
        robot.drive(100) != Drive::Stop
    });
    assert!(moves.take().is_some());
    assert_ne!(robot.drive(2600), Drive::Stop);
    assert_eq!(robot.drive(2601), Drive::Stop);
}
