//! A Unix stream socket: lines of JSON both ways, any number of clients.
//!
//! The thread sleeps in `poll` on the listener, the outbox and every client; no client is waited for. Each report is encoded once,
//! and its bytes are shared by all clients.
//!
//! The socket's file is made under another name, given its group and mode, and renamed: nobody can connect before it is as
//! restricted as it will be, and the file that a killed program left is replaced. Another *living* program's is not. When the
//! file vanishes (a cleaned `/run`), it is made again; clients that are connected stay so.
//!
//! # Places
//!
//! | rule | why |
//! |---|---|
//! | the last place is the program's own user's, and root's | whoever fills the others cannot lock the robot's own programs out |
//! | the last quarter of the places is for clients that give commands, within [`SILENCE`] and again as often | silent readers cannot keep everybody else out |
//! | when all are taken, whoever has taken nothing of what waits for it for [`STUCK`] gives its place up | a stopped process is no reader |

use std::{
    fs, io,
    os::{
        fd::AsFd,
        unix::{
            fs::{MetadataExt, PermissionsExt, chown},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
        sockopt::{set_socket_send_buffer_size, socket_peercred},
    },
};

use super::{
    LinkLimits, MAX_CLIENTS, Pool, SocketConfig,
    client::{Client, Kind, Way},
    config::Role,
    line::wait,
    queue::{Inbox, Item, Losses, Outbox, count},
};
use crate::{
    protocol::{ErrorCode, Event, Reply, WIRE_VERSION, json},
    supervise,
};

/// The mode of the socket's file.
const MODE: u32 = 0o660;

/// The kernel's own queue for one client: reports in it cannot be given up for newer ones any more.
const KERNEL_BUFFER: usize = 64 * 1024;

/// How often the socket's file is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// How long a closing socket goes on with what waits.
const FAREWELL: Duration = Duration::from_millis(250);

/// How long a client in one of the last places may give no command.
const SILENCE: Duration = Duration::from_secs(5);

/// How long a client may take nothing of what waits for it before another may have its place.
const STUCK: Duration = Duration::from_secs(10);

/// How soon a command that found no room is looked at again.
const AGAIN: Duration = Duration::from_millis(10);

/// Most clients that are let in before those that are in have their turn.
const AT_ONCE: usize = 16;

/// A socket that listens.
#[derive(Debug)]
pub(super) struct Listener {
    config: SocketConfig,
    listener: UnixListener,
    /// The file that is ours to look after and to remove: its inode. None: systemd's.
    file: Option<u64>,
}

impl Listener {
    /// Takes over what systemd opened, or makes the socket.
    pub(super) fn open(config: &SocketConfig, passed: Option<UnixListener>) -> io::Result<Self> {
        let (listener, file) = match passed {
            Some(listener) => (listener, None),
            None => {
                let (listener, inode) = bind(config).map_err(|e| {
                    io::Error::new(e.kind(), format!("socket {}: {e}", config.path.display()))
                })?;
                (listener, Some(inode))
            }
        };
        listener.set_nonblocking(true)?;
        Ok(Self {
            config: config.clone(),
            listener,
            file,
        })
    }

    /// Makes the socket's file again if it is gone.
    fn look_after(&mut self) {
        let path = &self.config.path;
        if self.file.is_none() || path.symlink_metadata().is_ok() {
            return;
        }
        match bind(&self.config).and_then(|(l, inode)| l.set_nonblocking(true).map(|()| (l, inode)))
        {
            Ok((listener, inode)) => {
                log::warn!("socket {} was removed; made again", path.display());
                (self.listener, self.file) = (listener, Some(inode));
            }
            Err(e) => log::debug!("socket {} was removed: {e}", path.display()),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let path = &self.config.path;
        let found = path.symlink_metadata().ok().map(|m| m.ino());
        if self.file.is_some() && found == self.file {
            let _ = fs::remove_file(path);
        }
    }
}

/// A listening socket at the path, and its file's inode.
fn bind(config: &SocketConfig) -> io::Result<(UnixListener, u64)> {
    let path = &config.path;
    match path.symlink_metadata() {
        Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is another file, which is no socket",
            ));
        }
        Ok(_) if is_served(path)? => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another program serves it",
            ));
        }
        _ => {}
    }
    let mut new = path.clone().into_os_string();
    new.push(format!(".{}", std::process::id()));
    let new = PathBuf::from(new);
    let _ = fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    let finish = || {
        fs::set_permissions(&new, fs::Permissions::from_mode(MODE))?;
        if let Some(group) = &config.group {
            chown(&new, None, Some(group_number(group)?))?;
        }
        let inode = new.symlink_metadata()?.ino();
        fs::rename(&new, path)?;
        Ok(inode)
    };
    match finish() {
        Ok(inode) => Ok((listener, inode)),
        Err(e) => {
            let _ = fs::remove_file(&new);
            Err(e)
        }
    }
}

/// Whether somebody listens at a socket's path. Never waits: a listener that lets nobody in is one all the same.
fn is_served(path: &Path) -> io::Result<bool> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let answer = connect(&probe, &SocketAddrUnix::new(path)?);
    // its queue is full, or it is another user's
    let there = |e| matches!(e, Errno::AGAIN | Errno::INPROGRESS | Errno::ACCESS);
    Ok(answer.is_ok_and(|()| true) || answer.is_err_and(there))
}

/// A group's number; names are looked up in `/etc/group`, as a program without a C library can.
fn group_number(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    number_in(&fs::read_to_string("/etc/group")?, group).ok_or_else(|| {
        let what = format!("no group {group} in /etc/group");
        io::Error::new(io::ErrorKind::NotFound, what)
    })
}

fn number_in(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name))
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    })
}

/// Runs a socket until its outbox is closed.
pub(super) fn run(
    listener: &mut Listener,
    outbox: &Arc<Outbox>,
    inbox: &Inbox,
    (link, run): (u16, u32),
    limits: LinkLimits,
) {
    // of a life before this one
    outbox.gauge.clients.store(0, Relaxed);
    let mut server = Server {
        outbox,
        inbox,
        link,
        run,
        limits,
        own: own_user(),
        clients: Vec::new(),
        named: 0,
        lines: Pool::new(),
    };
    let (mut end, mut look_at) = (None, Instant::now());
    // accepting failed for want of descriptors: leave the listener alone for a while
    let mut accept_at = Instant::now();
    loop {
        outbox.slept();
        server.distribute();
        if outbox.is_closing() {
            let end = *end.get_or_insert_with(|| Instant::now() + FAREWELL);
            if server.clients.iter().all(Client::is_idle) || Instant::now() >= end {
                return;
            }
        }
        let now = Instant::now();
        if now >= look_at {
            listener.look_after();
            look_at = now + LOOK;
            server.tidy(&listener.config, now);
        }
        let accepting = now >= accept_at && end.is_none();
        let mut longest = end.unwrap_or(look_at).saturating_duration_since(now);
        if server.clients.iter().any(|client| client.held) {
            longest = longest.min(AGAIN);
        }
        if server.sleep(listener, accepting, longest)
            && let Err(e) = server.accept(listener)
        {
            log::warn!("socket {}: {e}", listener.config.path.display());
            accept_at = now + LOOK;
        }
    }
}

struct Server<'a> {
    outbox: &'a Arc<Outbox>,
    inbox: &'a Inbox,
    link: u16,
    run: u32,
    limits: LinkLimits,
    /// The user that this program runs as.
    own: Option<u32>,
    clients: Vec<Client>,
    /// Clients get numbers that are never used twice.
    named: u32,
    /// Encoded messages, shared by clients.
    lines: Pool<Vec<u8>>,
}

impl<'a> Server<'a> {
    /// Gives every client what waits, and writes what each takes.
    fn distribute(&mut self) {
        loop {
            // what the queue gave up is older than all that is still in it
            let lost = self.outbox.take_losses();
            self.lose(lost);
            let Some(item) = self.outbox.take() else {
                break;
            };
            if matches!(item, Item::Report(_)) {
                supervise::trap("link");
            }
            if self.clients.is_empty() {
                continue;
            }
            let most = self.limits.report_bytes;
            let mut whole = true;
            let line = self.line(|out| match &item {
                Item::Report(envelope) => whole = json::write_report_within(&**envelope, most, out),
                Item::Event(event) => json::write_event(event, out),
                Item::Reply(_, reply) => json::write_reply(reply, out),
            });
            if !whole {
                log::warn!("a report of more than {most} bytes is not sent");
                self.lose(Losses {
                    reports: 1,
                    others: 0,
                });
                continue;
            }
            let gauge = &self.outbox.gauge;
            for client in &mut self.clients {
                match &item {
                    Item::Report(_) => client.push(Kind::Report, Arc::clone(&line), gauge),
                    Item::Event(_) => client.push(Kind::Event, Arc::clone(&line), gauge),
                    Item::Reply(to, _) if *to == client.number => {
                        client.push(Kind::Reply, Arc::clone(&line), gauge);
                        client.pump(gauge);
                    }
                    Item::Reply(..) => {}
                }
            }
            if !matches!(item, Item::Reply(..)) {
                // before the next one comes and pushes an older one out
                self.clients.iter_mut().for_each(|c| c.pump(gauge));
            }
        }
        self.pump();
    }

    /// One encoded message, line feed included.
    fn line(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Arc<Vec<u8>> {
        self.lines.share(Vec::new, |out| {
            out.clear();
            write(out);
            out.push(b'\n');
        })
    }

    fn lose(&mut self, lost: Losses) {
        if lost == Losses::default() {
            return;
        }
        let clients = self.clients.len() as u64;
        count(&self.outbox.gauge.lost, lost.reports * clients);
        for client in &mut self.clients {
            client.lose(lost);
        }
    }

    /// Writes what each client takes, hands on what waited for that, and lets go of those that are done.
    fn pump(&mut self) {
        let (gauge, way) = (&self.outbox.gauge, self.way());
        for client in &mut self.clients {
            client.pump(gauge);
            if client.held {
                client.take_lines(way);
            }
        }
        self.leave(|client| client.is_over());
    }

    const fn way(&self) -> Way<'a> {
        Way {
            link: self.link,
            outbox: self.outbox,
            inbox: self.inbox,
        }
    }

    /// Lets go of some.
    fn leave(&mut self, goes: impl Fn(&Client) -> bool) {
        let gauge = &self.outbox.gauge;
        self.clients.retain(|client| {
            let goes = goes(client);
            if goes {
                log::info!("client {}: gone", client.number);
                gauge.clients.fetch_sub(1, Relaxed);
            }
            !goes
        });
    }

    /// Takes the last places from those that are silent, and says so to them as far as they read.
    fn tidy(&mut self, config: &SocketConfig, now: Instant) {
        let crowded = self.clients.len() > open_to_all(config);
        for client in &mut self.clients {
            client.last_places &= crowded;
        }
        let silent = |client: &Client| {
            client.last_places && now.saturating_duration_since(client.spoke) >= SILENCE
        };
        if !self.clients.iter().any(&silent) {
            return;
        }
        let why = format!(
            "the last places are for clients that give a command every {} s",
            SILENCE.as_secs()
        );
        let line = self.line(|out| {
            json::write_reply(&Reply::error(0, ErrorCode::Denied, why), out);
        });
        let gauge = &self.outbox.gauge;
        for client in self.clients.iter_mut().filter(|client| silent(client)) {
            client.push(Kind::Event, Arc::clone(&line), gauge);
            client.pump(gauge);
        }
        self.leave(silent);
    }

    /// Frees a place that somebody holds who reads nothing. Whether there is one now.
    fn make_room(&mut self) -> bool {
        let now = Instant::now();
        let longest = self
            .clients
            .iter()
            .max_by_key(|client| client.stuck(now))
            .filter(|client| client.stuck(now) >= STUCK)
            .map(|client| client.number);
        self.leave(|client| Some(client.number) == longest);
        longest.is_some()
    }

    /// Sleeps until something happens, and reads what clients sent. Whether somebody wants to connect.
    fn sleep(&mut self, listener: &Listener, accepting: bool, longest: Duration) -> bool {
        // on the stack: it sleeps and wakes for every report
        let mut fds = heapless::Vec::<PollFd<'_>, { MAX_CLIENTS + 2 }>::new();
        let acceptable = if accepting {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        fds.extend([
            PollFd::new(&**self.outbox, PollFlags::IN),
            PollFd::new(&listener.listener, acceptable),
        ]);
        let mut polled = heapless::Vec::<usize, MAX_CLIENTS>::new();
        for (i, client) in self.clients.iter().enumerate() {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, client.wants());
            wanted.set(PollFlags::OUT, !client.is_idle());
            // asked for nothing, poll would still say at once that the other end hung up
            if !wanted.is_empty() && polled.push(i).is_ok() {
                // as much room as there are places
                let _ = fds.push(PollFd::new(client, wanted));
            }
        }
        wait(&mut fds, longest);
        let flags = fds.iter().map(PollFd::revents);
        let happened: heapless::Vec<PollFlags, { MAX_CLIENTS + 2 }> = flags.collect();
        drop(fds);
        let readable = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        let way = self.way();
        for (i, flags) in polled.into_iter().zip(happened.iter().skip(2)) {
            let Some(client) = self.clients.get_mut(i) else {
                continue;
            };
            if flags.intersects(PollFlags::OUT | PollFlags::HUP | PollFlags::ERR) {
                client.full = false;
            }
            if flags.intersects(readable) {
                client.receive(way);
            }
        }
        self.leave(Client::is_over);
        happened
            .get(1)
            .is_some_and(|flags| accepting && flags.intersects(PollFlags::IN))
    }

    fn accept(&mut self, listener: &Listener) -> io::Result<()> {
        for _ in 0..AT_ONCE {
            let stream = match listener.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // gone before it was let in
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let config = &listener.config;
            let entry = admitted(config, &stream).and_then(|(uid, role)| {
                let most = places(config, uid, self.own);
                if self.clients.len() >= most && !self.make_room() {
                    return Err(format!(
                        "too many clients: {} are connected, up to {most} may be",
                        self.clients.len()
                    ));
                }
                Ok((uid, role))
            });
            let late = self.clients.len() >= open_to_all(config);
            if let Err(e) = self.welcome(stream, entry, late) {
                log::info!("a client is gone already: {e}");
            }
        }
        Ok(())
    }

    fn welcome(
        &mut self,
        stream: UnixStream,
        entry: Result<(Option<u32>, Role), String>,
        late: bool,
    ) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        set_socket_send_buffer_size(&stream, KERNEL_BUFFER)?;
        self.named = self.named.wrapping_add(1);
        let gauge = &self.outbox.gauge;
        let who = match entry {
            Ok(who) => who,
            Err(why) => {
                log::warn!("a client is refused: {why}");
                let reply = Reply::error(0, ErrorCode::Denied, why);
                let line = self.line(|out| json::write_reply(&reply, out));
                let mut client = Client::new(stream, self.named, (None, Role::Read), 1);
                // whoever does not take one line does not get it
                client.push(Kind::Event, line, &super::queue::Gauge::default());
                client.pump(&super::queue::Gauge::default());
                return Ok(());
            }
        };
        let mut client = Client::new(stream, self.named, who, self.limits.commands);
        client.last_places = late;
        let hello = Event::Hello {
            wire: WIRE_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: self.run,
        };
        client.push(
            Kind::Event,
            self.line(|out| json::write_event(&hello, out)),
            gauge,
        );
        for event in self.outbox.standing() {
            client.push(
                Kind::Event,
                self.line(|out| json::write_event(&event, out)),
                gauge,
            );
        }
        gauge.clients.fetch_add(1, Relaxed);
        self.clients.push(client);
        Ok(())
    }
}

/// The user that this program runs as, as a socket of its own says.
fn own_user() -> Option<u32> {
    let (one, _other) = UnixStream::pair().ok()?;
    Some(socket_peercred(one.as_fd()).ok()?.uid.as_raw())
}

/// How many clients are let in whatever they do then: the last quarter of the places is for those that give commands.
fn open_to_all(config: &SocketConfig) -> usize {
    let most = usize::from(config.max_clients);
    most - most / 4
}

/// How many clients there may be for one more of this user to be let in.
fn places(config: &SocketConfig, uid: Option<u32>, own: Option<u32>) -> usize {
    let most = usize::from(config.max_clients);
    if most > 1 && uid.is_some_and(|uid| uid != 0 && own.is_some_and(|own| own != uid)) {
        most - 1
    } else {
        most
    }
}

/// Who it is and what it may do, or why it may not connect.
fn admitted(config: &SocketConfig, stream: &UnixStream) -> Result<(Option<u32>, Role), String> {
    let open = config.allow_uids.is_empty() && config.allow_gids.is_empty();
    let peer = match socket_peercred(stream.as_fd()) {
        Ok(peer) => peer,
        Err(_) if open && config.command_uids.is_empty() => return Ok((None, config.role)),
        Err(e) => return Err(format!("who it is cannot be told: {e}")),
    };
    let (uid, gid) = (peer.uid.as_raw(), peer.gid.as_raw());
    if !open && !config.allow_uids.contains(&uid) && !config.allow_gids.contains(&gid) {
        return Err(format!("user {uid} of group {gid} may not connect"));
    }
    let role = if config.command_uids.contains(&uid) {
        Role::Command
    } else {
        config.role
    };
    Ok((Some(uid), role))
}

/// The listening sockets that systemd passed, in its order.
pub(super) fn passed() -> Vec<UnixListener> {
    let mut fds = listenfd::ListenFd::from_env();
    (0..fds.len())
        .filter_map(|i| match fds.take_unix_listener(i) {
            Ok(listener) => listener,
            Err(e) => {
                log::warn!("descriptor {i} that systemd passed is no Unix socket: {e}");
                None
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_is_kept_for_the_programs_own_user_and_root() {
        let config = SocketConfig::new("x");
        let most = usize::from(config.max_clients);
        assert_eq!(places(&config, Some(1001), Some(1000)), most - 1);
        assert_eq!(places(&config, Some(1000), Some(1000)), most);
        assert_eq!(places(&config, Some(0), Some(1000)), most);
        let one = SocketConfig {
            max_clients: 1,
            ..config
        };
        assert_eq!(places(&one, Some(1001), Some(1000)), 1);
        assert_eq!(open_to_all(&one), 1);
    }

    #[test]
    fn groups_are_found_by_name() {
        let groups = "root:x:0:\nvideo:x:44:anna,ben\nbroken\nvideo2:x:45:\n";
        assert_eq!(number_in(groups, "video"), Some(44));
        assert_eq!(number_in(groups, "video2"), Some(45));
        assert_eq!(number_in(groups, "vide"), None);
        assert_eq!(number_in(groups, "broken"), None);
        assert_eq!(group_number("123").expect("a number"), 123);
    }
}
