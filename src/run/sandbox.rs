//! What the process takes away from itself, held by the kernel and never given back.
//!
//! | when | what is taken | by |
//! |---|---|---|
//! | before anything foreign is read, in every command | sockets of any family but `AF_UNIX`, `io_uring` (which opens sockets without that call), other programs, writing to other processes | seccomp, a list of what is refused |
//! | at the same time, in `run` | writing anywhere but to the folders of its sockets, its cache and `/dev` | Landlock, where the kernel has it |
//! | once `run` has started | every system call that is not on a list, executable memory, keys put into terminals | seccomp, a list of what is allowed |
//!
//! What is refused answers `EPERM` (Landlock: `EACCES`), so that whatever asks gets an error and
//! the program goes on. Sockets that are there already stay: the links'. Both filters are for
//! x86-64, aarch64, riscv64 and 32-bit Arm; on another processor there is none, and that is said.
//! systemd's `SystemCallFilter=` and `PrivateNetwork=` in `boards/` add to these walls.
//!
//! | file | does |
//! |---|---|
//! | `sandbox/calls.rs` | the lists, with the numbers of each processor |
//! | `sandbox/filter.rs` | the programs that the kernel runs at every call |
//! | `sandbox/places.rs` | Landlock |

use std::{io, path::PathBuf};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType},
};

use self::filter::Processor;
use super::config::Config;

mod calls;
mod filter;
mod places;

/// What was done about walls before the threads were started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walls {
    /// Which could not be had, and why.
    pub lacking: Vec<String>,
}

impl Walls {
    /// Puts on what must be there before threads are started and anything foreign is read, as the
    /// configuration has it.
    #[must_use]
    pub fn raise(config: &Config) -> Self {
        let mut walls = Self::default();
        if !config.sandbox.enabled {
            return walls;
        }
        if let Err(e) = no_network() {
            walls
                .lacking
                .push(format!("no filter against network sockets: {e}"));
        }
        match places::close_all_but(&writable(config)) {
            Ok(done) => log::debug!("{done}"),
            // many boards' kernels are built without it: the filters do not depend on it
            Err(why) => log::info!("files are not closed to writing: {why}"),
        }
        walls
    }
}

/// The folders that the loop writes to.
fn writable(config: &Config) -> Vec<PathBuf> {
    let links = config.links.all();
    let sockets = links.iter().filter_map(|link| match link {
        crate::link::LinkConfig::Socket(socket) => {
            let folder = socket.path.parent()?;
            let here = folder.as_os_str().is_empty();
            Some(if here { ".".into() } else { folder.to_owned() })
        }
        _ => None,
    });
    let cache = crate::prompt::cache::default_folder().filter(|_| config.prompts.cache);
    if let Some(folder) = &cache
        && let Err(e) = std::fs::create_dir_all(folder)
    {
        log::info!("{}: {e}; sentences are not kept", folder.display());
    }
    sockets.chain(cache).collect()
}

/// Takes the network and other programs away from every thread.
///
/// # Errors
///
/// What the system answered; [`io::ErrorKind::Unsupported`] on a processor without a filter or a
/// kernel without filters.
pub fn no_network() -> io::Result<()> {
    put_on(filter::no_network)
}

/// Takes everything away from every thread that the loop does not need once it has started.
///
/// # Errors
///
/// As [`no_network`].
pub fn confine() -> io::Result<()> {
    put_on(filter::allow_list)
}

fn put_on(program: fn(Processor) -> Vec<seccompiler::sock_filter>) -> io::Result<()> {
    let processor = Processor::own().ok_or(io::ErrorKind::Unsupported)?;
    seccompiler::apply_filter_all_threads(&program(processor)).map_err(|e| match e {
        seccompiler::Error::Seccomp(e) | seccompiler::Error::Prctl(e) => e,
        e => io::Error::other(e.to_string()),
    })
}

/// Whether an inet socket is refused: tries to open one.
///
/// # Errors
///
/// A sentence, if one could be opened.
pub fn probe() -> Result<(), String> {
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        match rustix::net::socket(family, SocketType::STREAM, None) {
            // closed at once, and nothing was sent
            Ok(_) => return Err(format!("a network socket ({family:?}) can be opened")),
            Err(Errno::PERM) => {}
            // a kernel without that family: as good as refused
            Err(_) => {}
        }
    }
    Ok(())
}

/// Whether a call that is on no list is refused: tries to go to the folder where it is.
///
/// # Errors
///
/// A sentence, if that worked.
pub fn probe_list() -> Result<(), String> {
    match rustix::process::chdir(".") {
        Err(Errno::PERM) => Ok(()),
        _ => Err("system calls that are not needed are answered".into()),
    }
}
