//! Signals, as flags that the loop looks at.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

/// What the shell says of a program that SIGTERM ended.
const KILLED: i32 = 128 + SIGTERM;

/// What signals have said.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Arc<AtomicBool>,
    interrupt: Arc<AtomicBool>,
    hang_up: Arc<AtomicBool>,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let signals = Self {
            terminate: Arc::default(),
            interrupt: Arc::default(),
            hang_up: Arc::default(),
        };
        for (signal, said) in [(SIGTERM, &signals.terminate), (SIGINT, &signals.interrupt)] {
            // the second one ends the program on the spot: whoever asks twice means it
            flag::register_conditional_shutdown(signal, KILLED, Arc::clone(said))?;
            flag::register(signal, Arc::clone(said))?;
        }
        flag::register(SIGHUP, Arc::clone(&signals.hang_up))?;
        Ok(signals)
    }

    /// Which signal wants the program to end.
    pub(super) fn stop(&self) -> Option<&'static str> {
        let said = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        if said(&self.terminate) {
            Some("SIGTERM")
        } else if said(&self.interrupt) {
            Some("SIGINT")
        } else {
            None
        }
    }

    /// Whether the configuration is to be read again; asked once per signal.
    pub(super) fn take_reload(&self) -> bool {
        self.hang_up.swap(false, Ordering::Relaxed)
    }
}
