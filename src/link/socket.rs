//! A Unix stream socket: lines of JSON both ways, any number of clients.
//!
//! The thread sleeps in `poll` on the listener, the outbox and every client; no client is waited for. Each report is encoded once,
//! and its bytes are shared by all clients.
//!
//! The socket's file is made under another name, given its group and mode, and renamed: nobody can connect before it is as
//! restricted as it will be, and the file that a killed program left is replaced. Another *living* program's is not. When the
//! file vanishes (a cleaned `/run`), it is made again; clients that are connected stay so.

use std::{
    fs, io,
    os::{
        fd::AsFd,
        unix::{
            fs::{MetadataExt, PermissionsExt, chown},
            net::{UnixListener, UnixStream},
        },
    },
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags},
    net::sockopt::{set_socket_send_buffer_size, socket_peercred},
};

use super::{
    Origin, Pool, SocketConfig,
    client::Client,
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
        Ok(_) if UnixStream::connect(path).is_ok() => {
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
pub(super) fn run(listener: &mut Listener, outbox: &Outbox, inbox: &Inbox, link: u16, run: u32) {
    // of a life before this one
    outbox.gauge.clients.store(0, Relaxed);
    let mut server = Server {
        outbox,
        inbox,
        link,
        run,
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
        }
        let accepting = now >= accept_at && end.is_none();
        let longest = end.unwrap_or(look_at).saturating_duration_since(now);
        if server.sleep(listener, accepting, longest)
            && let Err(e) = server.accept(listener)
        {
            log::warn!("socket {}: {e}", listener.config.path.display());
            accept_at = now + LOOK;
        }
    }
}

struct Server<'a> {
    outbox: &'a Outbox,
    inbox: &'a Inbox,
    link: u16,
    run: u32,
    clients: Vec<Client>,
    /// Clients get numbers that are never used twice.
    named: u32,
    /// Encoded messages, shared by clients.
    lines: Pool<Vec<u8>>,
}

impl Server<'_> {
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
            let line = self.line(|out| match &item {
                Item::Report(envelope) => json::write_report(envelope, out),
                Item::Event(event) => json::write_event(event, out),
                Item::Reply(_, reply) => json::write_reply(reply, out),
            });
            let gauge = &self.outbox.gauge;
            for client in &mut self.clients {
                match &item {
                    Item::Report(_) => client.push_report(Arc::clone(&line), gauge),
                    Item::Event(_) => client.push(Arc::clone(&line)),
                    Item::Reply(to, _) if *to == client.number => client.push(Arc::clone(&line)),
                    Item::Reply(..) => {}
                }
            }
            self.pump();
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

    fn pump(&mut self) {
        let gauge = &self.outbox.gauge;
        self.clients.retain_mut(|client| match client.pump(gauge) {
            Ok(()) => true,
            Err(e) => {
                log::info!("client {}: {e}", client.number);
                gauge.clients.fetch_sub(1, Relaxed);
                false
            }
        });
    }

    /// Sleeps until something happens, and reads what clients sent. Whether somebody wants to connect.
    fn sleep(&mut self, listener: &Listener, accepting: bool, longest: Duration) -> bool {
        let mut fds = Vec::with_capacity(self.clients.len() + 2);
        let acceptable = if accepting {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        fds.push(PollFd::new(self.outbox, PollFlags::IN));
        fds.push(PollFd::new(&listener.listener, acceptable));
        for client in &self.clients {
            let wanted = if client.is_idle() {
                PollFlags::IN
            } else {
                PollFlags::IN | PollFlags::OUT
            };
            fds.push(PollFd::new(client, wanted));
        }
        wait(&mut fds, longest);
        let happened: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        let readable = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        let (outbox, inbox, link) = (self.outbox, self.inbox, self.link);
        let mut flags = happened.iter().skip(2);
        self.clients.retain_mut(|client| {
            let flags = flags.next().copied().unwrap_or(PollFlags::empty());
            if !flags.intersects(readable) {
                return true;
            }
            let origin = Origin {
                link,
                client: client.number,
            };
            match client.receive(origin, outbox, inbox) {
                Ok(()) => true,
                Err(e) => {
                    log::info!("client {}: {e}", client.number);
                    outbox.gauge.clients.fetch_sub(1, Relaxed);
                    false
                }
            }
        });
        happened
            .get(1)
            .is_some_and(|flags| accepting && flags.intersects(PollFlags::IN))
    }

    fn accept(&mut self, listener: &Listener) -> io::Result<()> {
        loop {
            let stream = match listener.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // gone before it was let in
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let refusal = if self.clients.len() >= usize::from(listener.config.max_clients) {
                Some("too many clients".to_owned())
            } else {
                refusal(&listener.config, &stream)
            };
            if let Err(e) = self.welcome(stream, refusal) {
                log::info!("a client is gone already: {e}");
            }
        }
    }

    fn welcome(&mut self, stream: UnixStream, refusal: Option<String>) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        set_socket_send_buffer_size(&stream, KERNEL_BUFFER)?;
        self.named = self.named.wrapping_add(1);
        let mut client = Client::new(stream, self.named);
        if let Some(why) = refusal {
            log::warn!("client {} refused: {why}", self.named);
            let reply = Reply::error(0, ErrorCode::Denied, why);
            client.push(self.line(|out| json::write_reply(&reply, out)));
            // whoever does not take one line does not get it
            return client.pump(&super::queue::Gauge::default());
        }
        let hello = Event::Hello {
            wire: WIRE_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: self.run,
        };
        client.push(self.line(|out| json::write_event(&hello, out)));
        for event in self.outbox.standing() {
            client.push(self.line(|out| json::write_event(&event, out)));
        }
        self.outbox.gauge.clients.fetch_add(1, Relaxed);
        self.clients.push(client);
        Ok(())
    }
}

/// Why a process may not connect, if it may not.
fn refusal(config: &SocketConfig, stream: &UnixStream) -> Option<String> {
    if config.allow_uids.is_empty() && config.allow_gids.is_empty() {
        return None;
    }
    let peer = match socket_peercred(stream.as_fd()) {
        Ok(peer) => peer,
        Err(e) => return Some(format!("who it is cannot be told: {e}")),
    };
    let (uid, gid) = (peer.uid.as_raw(), peer.gid.as_raw());
    let allowed = config.allow_uids.contains(&uid) || config.allow_gids.contains(&gid);
    (!allowed).then(|| format!("user {uid} of group {gid} may not connect"))
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
    fn groups_are_found_by_name() {
        let groups = "root:x:0:\nvideo:x:44:anna,ben\nbroken\nvideo2:x:45:\n";
        assert_eq!(number_in(groups, "video"), Some(44));
        assert_eq!(number_in(groups, "video2"), Some(45));
        assert_eq!(number_in(groups, "vide"), None);
        assert_eq!(number_in(groups, "broken"), None);
        assert_eq!(group_number("123").expect("a number"), 123);
    }
}
