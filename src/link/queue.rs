//! The bounded queues between the loop and the thread of a link, and what wakes that thread.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use heapless::Deque;
use rustix::event::{EventfdFlags, eventfd};

use super::Origin;
use crate::protocol::{Envelope, Event, LinkHealth, Outgoing, Reply, Request};

/// Most reports that wait for a link's thread.
pub(super) const MAX_REPORTS: usize = 8;

/// Most events that wait for a link's thread. Replies are never given up: there are no more of them than commands were read,
/// and of those no more than a client may have waiting ([`LinkLimits::commands`](super::LinkLimits)).
const MAX_EVENTS: usize = 64;

/// Bytes of a command's line from which it counts as big: read into memory it may take thirty times as much.
pub(super) const BIG: usize = 1024;

/// Bytes of big commands' lines that wait for the loop, all clients together; a longer one waits alone.
const MAX_BIG: usize = 1 << 18;

/// A message for the thread of a link.
#[derive(Debug)]
pub(super) enum Item {
    Report(Arc<Envelope>),
    Event(Arc<Event>),
    /// For one client.
    Reply(u32, Arc<Reply>),
}

/// How much was given up because the thread did not take it in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    pub(super) reports: u64,
    pub(super) others: u64,
}

impl Losses {
    pub(super) fn add(&mut self, more: Self) {
        self.reports += more.reports;
        self.others += more.others;
    }
}

/// Reports are kept apart from the rest, because only they are given up for newer ones; stamps keep the order of all.
#[derive(Debug)]
struct Waiting {
    reports: Deque<(u64, Arc<Envelope>), MAX_REPORTS>,
    events: Deque<(u64, Arc<Event>), MAX_EVENTS>,
    replies: VecDeque<(u64, u32, Arc<Reply>)>,
    stamp: u64,
    lost: Losses,
    /// What holds once all that waits is told: for links that come later.
    latest: Standing,
    /// What holds as of the last message taken: for readers that come now, who are told the rest as it is taken.
    told: Standing,
}

/// The last events that a reader must know.
#[derive(Clone, Debug, Default)]
struct Standing {
    state: Option<Arc<Event>>,
    prompts: Option<Arc<Event>>,
}

impl Standing {
    fn note(&mut self, item: &Item) {
        if let Item::Event(event) = item {
            match **event {
                Event::State { .. } => self.state = Some(Arc::clone(event)),
                Event::PromptsChanged { .. } => self.prompts = Some(Arc::clone(event)),
                _ => {}
            }
        }
    }
}

/// What the loop and one link's thread share.
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    /// How many reports wait at most: less than [`MAX_REPORTS`] where an old report is worth little.
    depth: usize,
    wake: OwnedFd,
    closing: AtomicBool,
    pub(super) gauge: Gauge,
}

impl Outbox {
    pub(super) fn new(depth: usize) -> std::io::Result<Self> {
        Ok(Self {
            waiting: Mutex::new(Waiting {
                reports: Deque::new(),
                events: Deque::new(),
                replies: VecDeque::new(),
                stamp: 0,
                lost: Losses::default(),
                latest: Standing::default(),
                told: Standing::default(),
            }),
            depth: depth.clamp(1, MAX_REPORTS),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            closing: AtomicBool::new(false),
            gauge: Gauge::default(),
        })
    }

    /// Queues a report or an event and wakes the thread. Never waits for more than the thread's own push or pop.
    pub(super) fn publish(&self, message: &Outgoing) {
        match message {
            Outgoing::Report(envelope) => self.push_report(Arc::clone(envelope)),
            Outgoing::Event(event) => self.push(Item::Event(Arc::clone(event))),
            // a reply without an addressee is nobody's
            Outgoing::Reply(_) => {}
        }
    }

    fn push_report(&self, envelope: Arc<Envelope>) {
        let mut waiting = lock(&self.waiting);
        let stamp = waiting.next_stamp();
        let mut oldest = None;
        if waiting.reports.len() >= self.depth {
            oldest = waiting.reports.pop_front();
            waiting.lost.reports += 1;
        }
        if waiting.reports.push_back((stamp, envelope)).is_err() {
            waiting.lost.reports += 1;
        }
        drop(waiting);
        // freed outside the lock, if this was the last to hold it
        drop(oldest);
        self.wake();
    }

    /// One more report will never be sent: the thread panicked with it.
    pub(super) fn lose_report(&self) {
        lock(&self.waiting).lost.reports += 1;
    }

    /// Queues an event or a reply and wakes the thread. Of too many events the oldest is given up; no reply is.
    pub(super) fn push(&self, item: Item) {
        let mut waiting = lock(&self.waiting);
        let stamp = waiting.next_stamp();
        waiting.latest.note(&item);
        let mut oldest = None;
        match item {
            Item::Reply(to, reply) => waiting.replies.push_back((stamp, to, reply)),
            Item::Event(event) => {
                if waiting.events.is_full() {
                    oldest = waiting.pop_event();
                    waiting.lost.others += 1;
                }
                if waiting.events.push_back((stamp, event)).is_err() {
                    waiting.lost.others += 1;
                }
            }
            // reports have their own way in
            Item::Report(_) => {}
        }
        drop(waiting);
        drop(oldest);
        self.wake();
    }

    /// The oldest message, if any.
    pub(super) fn take(&self) -> Option<Item> {
        let mut waiting = lock(&self.waiting);
        let stamps = [
            waiting.reports.front().map(|(stamp, _)| *stamp),
            waiting.events.front().map(|(stamp, _)| *stamp),
            waiting.replies.front().map(|(stamp, ..)| *stamp),
        ];
        let first = stamps.iter().flatten().min()?;
        match stamps.iter().position(|stamp| *stamp == Some(*first))? {
            0 => waiting.reports.pop_front().map(|(_, e)| Item::Report(e)),
            1 => waiting.pop_event(),
            _ => {
                let reply = waiting.replies.pop_front();
                reply.map(|(_, to, reply)| Item::Reply(to, reply))
            }
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        let waiting = lock(&self.waiting);
        waiting.reports.is_empty() && waiting.events.is_empty() && waiting.replies.is_empty()
    }

    /// What was given up since the last call.
    pub(super) fn take_losses(&self) -> Losses {
        std::mem::take(&mut lock(&self.waiting).lost)
    }

    /// The last events that a reader who comes now must know and will not be told.
    pub(super) fn standing(&self) -> impl Iterator<Item = Arc<Event>> {
        let Standing { state, prompts } = lock(&self.waiting).told.clone();
        [state, prompts].into_iter().flatten()
    }

    /// Makes this link, which is new, know what another one knows.
    pub(super) fn inherit(&self, other: &Self) {
        let latest = lock(&other.waiting).latest.clone();
        let mut waiting = lock(&self.waiting);
        waiting.told = latest.clone();
        waiting.latest = latest;
    }

    /// Tells the thread to send what waits, if that is soon done, and to end.
    pub(super) fn close(&self) {
        self.closing.store(true, Relaxed);
        self.wake();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    pub(super) fn wake(&self) {
        // a counter that is full wakes as well
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Forgets that the thread was woken, before it looks at the queue.
    pub(super) fn slept(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.wake, &mut count);
    }
}

impl AsFd for Outbox {
    /// Readable once something was queued since [`Outbox::slept`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Waiting {
    fn next_stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    fn pop_event(&mut self) -> Option<Item> {
        let (_, event) = self.events.pop_front()?;
        let item = Item::Event(event);
        self.told.note(&item);
        Some(item)
    }
}

/// Commands on their way to the loop: a queue for each client, and one of each taken in turn, so that however much one client
/// sends, another's command is next but a few.
///
/// How much a client may have waiting is its link's business, which stops reading from it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Lanes>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct Lanes {
    /// Clients with commands, whose turn it is first.
    lanes: VecDeque<Lane>,
    /// Bytes of big commands' lines among them.
    big: usize,
}

#[derive(Debug)]
struct Lane {
    origin: Origin,
    /// Each with the bytes of its line.
    commands: VecDeque<(Request, usize)>,
}

impl Inbox {
    /// Whether a command whose line has so many bytes may be read into memory now.
    pub(super) fn admits(&self, bytes: usize) -> bool {
        bytes < BIG || {
            let big = lock(&self.waiting).big;
            big == 0 || big + bytes <= MAX_BIG
        }
    }

    /// Counts a command as waiting that is still being read.
    pub(super) fn hold(&self, bytes: usize) {
        if bytes >= BIG {
            lock(&self.waiting).big += bytes;
        }
    }

    /// It is read: queued next, or no command.
    pub(super) fn release(&self, bytes: usize) {
        if bytes >= BIG {
            lock(&self.waiting).big -= bytes;
        }
    }

    /// Queues a command.
    pub(super) fn push(&self, origin: Origin, request: Request, bytes: usize) {
        let mut waiting = lock(&self.waiting);
        if bytes >= BIG {
            waiting.big += bytes;
        }
        let own = waiting.lanes.iter_mut().find(|lane| lane.origin == origin);
        match own {
            Some(lane) => lane.commands.push_back((request, bytes)),
            None => waiting.lanes.push_back(Lane {
                origin,
                commands: VecDeque::from([(request, bytes)]),
            }),
        }
        drop(waiting);
        self.came.notify_one();
    }

    /// The oldest command of the next client whose oldest command is wanted now.
    pub(super) fn take(&self, wanted: impl Fn(&Request) -> bool) -> Option<(Origin, Request)> {
        let mut waiting = lock(&self.waiting);
        let first = |lane: &Lane| lane.commands.front().is_none_or(|(r, _)| wanted(r));
        let at = waiting.lanes.iter().position(first)?;
        let mut lane = waiting.lanes.remove(at)?;
        let origin = lane.origin;
        let taken = lane.commands.pop_front();
        if !lane.commands.is_empty() {
            waiting.lanes.push_back(lane);
        }
        let (request, bytes) = taken?;
        if bytes >= BIG {
            waiting.big -= bytes;
        }
        Some((origin, request))
    }

    /// Waits until a command is there, but not longer than this. Whether one is.
    pub(super) fn wait(&self, longest: Duration) -> bool {
        let waited = self
            .came
            .wait_timeout_while(lock(&self.waiting), longest, |w| w.lanes.is_empty());
        let (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !waiting.lanes.is_empty()
    }
}

/// A lock that a panicking thread gave up holds queues that are whole: they are changed by single pushes and pops.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What [`LinkHealth`] is read from.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    pub(super) up: AtomicBool,
    pub(super) clients: AtomicU32,
    pub(super) sent: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) garbled: AtomicU64,
}

impl Gauge {
    pub(super) fn health(&self, name: &str) -> LinkHealth {
        LinkHealth {
            name: name.to_owned(),
            up: self.up.load(Relaxed),
            clients: self.clients.load(Relaxed),
            sent: self.sent.load(Relaxed),
            lost: self.lost.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            commands: self.commands.load(Relaxed),
            garbled: self.garbled.load(Relaxed),
        }
    }
}

/// Adds to one of a gauge's counts.
pub(super) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Command, State, envelope::tests::envelope};

    fn report(sequence: u64) -> Outgoing {
        let mut envelope = envelope();
        envelope.sequence = sequence;
        Outgoing::Report(Arc::new(envelope))
    }

    fn event(version: u32) -> Outgoing {
        Outgoing::Event(Arc::new(Event::PromptsChanged { version, count: 1 }))
    }

    fn taken(outbox: &Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.take())
            .map(|item| match item {
                Item::Report(e) => format!("report {}", e.sequence),
                Item::Event(e) => match *e {
                    Event::PromptsChanged { version, .. } => format!("prompts {version}"),
                    _ => "event".into(),
                },
                Item::Reply(client, reply) => format!("reply {} to {client}", reply.id()),
            })
            .collect()
    }

    #[test]
    fn messages_come_out_in_the_order_in_which_they_went_in() {
        let outbox = Outbox::new(8).expect("an eventfd");
        outbox.publish(&report(1));
        outbox.publish(&event(2));
        outbox.push(Item::Reply(7, Arc::new(Reply::done(3))));
        outbox.publish(&report(4));
        let expected = ["report 1", "prompts 2", "reply 3 to 7", "report 4"];
        assert_eq!(taken(&outbox), expected);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_full_queue_gives_up_its_oldest_report_and_counts_it_once() {
        let outbox = Outbox::new(2).expect("an eventfd");
        (0..10).for_each(|i| outbox.publish(&report(i)));
        (0..70).for_each(|i| outbox.publish(&event(i)));
        let lost = Losses {
            reports: 8,
            others: 6,
        };
        assert_eq!(outbox.take_losses(), lost);
        assert_eq!(outbox.take_losses(), Losses::default());
        let taken = taken(&outbox);
        assert_eq!(taken[..3], ["report 8", "report 9", "prompts 6"]);
        assert_eq!(taken.len(), 2 + 64);
    }

    #[test]
    fn whoever_comes_later_is_told_the_last_state_and_prompts() {
        let outbox = Outbox::new(2).expect("an eventfd");
        let state = |to| {
            Arc::new(Event::State {
                from: State::Starting,
                to,
                why: String::new(),
            })
        };
        outbox.publish(&Outgoing::Event(state(State::Running)));
        outbox.publish(&event(1));
        outbox.publish(&Outgoing::Event(state(State::Paused)));
        outbox.publish(&event(2));
        assert_eq!(
            outbox.standing().count(),
            0,
            "all of it is still to be told"
        );
        let next = Outbox::new(2).expect("an eventfd");
        next.inherit(&outbox);
        assert_eq!(taken(&outbox).len(), 4);
        for outbox in [outbox, next] {
            let standing: Vec<_> = outbox.standing().collect();
            assert_eq!(standing[0], state(State::Paused));
            assert!(matches!(
                *standing[1],
                Event::PromptsChanged { version: 2, .. }
            ));
        }
    }

    #[test]
    fn replies_are_never_given_up() {
        let outbox = Outbox::new(2).expect("an eventfd");
        (0..500).for_each(|id| outbox.push(Item::Reply(1, Arc::new(Reply::done(id)))));
        (0..70).for_each(|i| outbox.publish(&event(i)));
        assert_eq!(outbox.take_losses().others, 6);
        let taken = taken(&outbox);
        assert_eq!(taken.len(), 500 + 64);
        assert_eq!(
            (&*taken[0], &*taken[499]),
            ("reply 0 to 1", "reply 499 to 1")
        );
    }

    fn pause(id: u32) -> Request {
        let command = Command::Pause {};
        Request { id, command }
    }

    #[test]
    fn clients_are_served_in_turn_however_much_one_of_them_sends() {
        let inbox = Inbox::default();
        let of = |client| Origin { link: 0, client };
        assert!(!inbox.wait(Duration::from_millis(1)));
        (0..100).for_each(|id| inbox.push(of(1), pause(id), 20));
        inbox.push(of(2), pause(1000), 20);
        inbox.push(of(2), pause(1001), 20);
        assert!(inbox.wait(Duration::from_secs(60)));
        // what is not wanted now waits, and what comes after it
        let wanted = inbox.take(|r| r.id >= 1000).map(|(_, r)| r.id);
        assert_eq!(wanted, Some(1000));
        inbox.push(of(2), pause(1002), 20);
        let order: Vec<u32> = std::iter::from_fn(|| inbox.take(|_| true))
            .map(|(_, request)| request.id)
            .collect();
        assert_eq!(order[..5], [0, 1001, 1, 1002, 2]);
        assert_eq!(order.len(), 102);
    }

    #[test]
    fn of_big_commands_no_more_wait_than_one_line_can_hold() {
        let inbox = Inbox::default();
        let origin = Origin { link: 0, client: 0 };
        assert!(inbox.admits(MAX_BIG), "one is always read");
        inbox.push(origin, pause(0), MAX_BIG - BIG);
        assert!(inbox.admits(BIG) && !inbox.admits(2 * BIG) && inbox.admits(BIG - 1));
        inbox.take(|_| true);
        assert!(inbox.admits(MAX_BIG));
    }
}
