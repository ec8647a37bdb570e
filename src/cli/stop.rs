//! SIGTERM and SIGINT end a batch between two photos: what is done is written, arrays are closed.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    low_level::{emulate_default_handler, signal_name},
};

/// Which signals came.
static SAID: OnceLock<Vec<(i32, Arc<AtomicBool>)>> = OnceLock::new();

/// From now on signals are flags; the second one of a kind ends the program on the spot, as whoever
/// asks twice means it.
///
/// # Errors
///
/// What the system answered.
pub(super) fn listen() -> io::Result<()> {
    if SAID.get().is_some() {
        return Ok(());
    }
    let mut said = Vec::new();
    for signal in [SIGTERM, SIGINT] {
        let came = Arc::<AtomicBool>::default();
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&came))?;
        flag::register(signal, Arc::clone(&came))?;
        said.push((signal, came));
    }
    let _ = SAID.set(said);
    Ok(())
}

/// The signal that wants the program to end.
pub(crate) fn asked() -> Option<i32> {
    let mut said = SAID.get()?.iter();
    let came = said.find(|(_, came)| came.load(Ordering::Relaxed));
    came.map(|(signal, _)| *signal)
}

/// What it is called.
pub(super) fn name(signal: i32) -> &'static str {
    signal_name(signal).unwrap_or("a signal")
}

/// Ends as the signal would have ended it, if one came: a shell's loop over folders ends with it.
pub(crate) fn obey() {
    if let Some(signal) = asked() {
        let _ = emulate_default_handler(signal);
    }
}
