//! A few threads that share the rows of an operation, and hand work over in a fraction of a
//! microsecond.
//!
//! A frame is some sixty operations of 5 to 200 µs, each of which waits for the one before. A pool
//! that puts threads to sleep in between, or asks a queue for them, costs as much as the smaller
//! ones. Here a thread that has run out of work looks for more, without sleeping, for `PATIENCE`:
//! longer than between two operations, shorter than between two frames.
//!
//! ```text
//! join(a, b):  offer b ── run a ──┬─ nobody took b ─▶ take it back, run it
//!                                 └─ b was taken ───▶ take what others offer, until b is done
//! ```
//!
//! So nobody waits for a thread that has not begun: one that sleeps, or that the system gave to
//! another program, costs nothing but its help. A thread offers one thing at a time; what it splits
//! while its offer stands, it does itself. Which thread did what leaves no trace in a result.
//!
//! A member that has waited for `PATIENCE` sleeps until something is offered: between frames,
//! nobody computes.
//!
//! `rayon` was here before: `tests/bench/NOTES.md` has what is known of both.
//!
//! # Safety
//!
//! An offer is a pointer to what lies on the stack of the thread that makes it, because nothing is
//! allocated in a frame. It holds as long as that thread stays in `Seat::join`, and it does not
//! leave before it has its offer back or the taker has said that it is done with it.

use std::{
    any::Any,
    cell::RefCell,
    io,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicPtr, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

pub mod background;

/// How long a member looks for work before it sleeps.
const PATIENCE: Duration = Duration::from_micros(200);

/// For how much of that it does not offer its processor to other programs.
const EAGER: Duration = Duration::from_micros(100);

/// Threads that wait to share work; they end with the last copy of it.
#[derive(Clone, Debug, Default)]
pub struct Team(Option<Arc<Crew>>);

/// A thread in its seat: until this is dropped, what the thread [`join`]s is shared with its team.
#[derive(Debug)]
#[must_use = "the thread leaves its seat when this is dropped"]
pub struct Sitting<'a> {
    /// None where the seat is another's, or the thread has one already.
    seat: Option<&'a AtomicBool>,
    /// The seat is this thread's, and of no other.
    _here: PhantomData<*const ()>,
}

impl Team {
    /// A team of so many threads, that of whoever [sits](Self::sit) among them: one less is started.
    ///
    /// # Errors
    ///
    /// What the system says if it refuses a thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        if threads < 2 {
            return Ok(Self(None));
        }
        let members = (0..threads).map(|_| Member::default()).collect();
        let mut crew = Crew {
            shared: Arc::new(Shared {
                members,
                ended: AtomicBool::new(false),
            }),
            taken: AtomicBool::new(false),
            threads: Vec::with_capacity(threads - 1),
        };
        for index in 1..threads {
            let team = Arc::clone(&crew.shared);
            let member = thread::Builder::new().name(format!("tarsier-{index}"));
            let member = member.spawn(move || Seat { team, index }.help())?;
            crew.threads.push(member);
        }
        Ok(Self(Some(Arc::new(crew))))
    }

    /// How many threads it has.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.0.as_ref().map_or(1, |c| c.shared.members.len())
    }

    /// Takes the seat of the thread that gives the others work.
    ///
    /// There is one: where another thread sits there, or this one is of a team already, nothing
    /// changes, and what it joins it does as before.
    pub fn sit(&self) -> Sitting<'_> {
        let crew = self.0.as_deref().filter(|crew| {
            let seated = SEAT.with_borrow(Option::is_some);
            !seated && !crew.taken.swap(true, Ordering::Acquire)
        });
        if let Some(Crew { shared, .. }) = crew {
            SEAT.set(Some(Seat {
                team: Arc::clone(shared),
                index: 0,
            }));
        }
        Sitting {
            seat: crew.map(|crew| &crew.taken),
            _here: PhantomData,
        }
    }
}

impl Drop for Sitting<'_> {
    fn drop(&mut self) {
        if let Some(taken) = self.seat {
            SEAT.set(None);
            taken.store(false, Ordering::Release);
        }
    }
}

/// Runs `a` here and `b` on another thread of the team, or here too if none is free.
///
/// Returns when both are done. Outside of a team this is `a` and then `b`.
///
/// # Panics
///
/// If `a` or `b` does, when both have ended.
pub fn join(a: impl FnOnce(), b: impl FnOnce() + Send) {
    SEAT.with_borrow(|seat| match seat {
        Some(seat) => seat.join(a, b),
        None => {
            a();
            b();
        }
    });
}

thread_local! {
    /// Where this thread sits, if it is of a team.
    static SEAT: RefCell<Option<Seat>> = const { RefCell::new(None) };
}

/// The threads of a team, and whether somebody gives them work.
#[derive(Debug)]
struct Crew {
    shared: Arc<Shared>,
    taken: AtomicBool,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Crew {
    fn drop(&mut self) {
        // there is no more work, also where a thread was refused and the others wait for it
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.members.iter().for_each(Member::wake);
        for thread in self.threads.drain(..) {
            // what it was given panics at who gave it
            let _ = thread.join();
        }
    }
}

/// What the threads of a team share.
#[derive(Debug)]
struct Shared {
    members: Vec<Member>,
    ended: AtomicBool,
}

/// One thread's part of that; a cache line of its own, and of the next which processors fetch
/// along.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Member {
    /// What it would have done, or null.
    offer: AtomicPtr<Job<'static>>,
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

/// One thread of a team.
struct Seat {
    team: Arc<Shared>,
    index: usize,
}

/// Something offered, on the stack of who offers it.
struct Job<'a> {
    work: &'a (dyn Work + Sync),
    /// The last that the taker touches.
    done: AtomicBool,
}

/// What can be done once, by whoever comes first.
trait Work {
    fn run(&self);
}

/// A closure as that.
struct Once<B> {
    work: Mutex<Option<B>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl<B: FnOnce() + Send> Work for Once<B> {
    fn run(&self) {
        let work = lock(&self.work).take();
        if let Some(work) = work
            && let Err(panic) = catch_unwind(AssertUnwindSafe(work))
        {
            *lock(&self.panic) = Some(panic);
        }
    }
}

/// The value of a mutex that is never held while somebody's code runs.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seat {
    fn join(&self, a: impl FnOnce(), b: impl FnOnce() + Send) {
        let offer = &self.team.members[self.index].offer;
        // nobody else offers here, so what is vacant stays vacant
        if !offer.load(Ordering::Relaxed).is_null() {
            a();
            b();
            return;
        }
        let once = Once {
            work: Mutex::new(Some(b)),
            panic: Mutex::new(None),
        };
        let job = Job {
            work: &once,
            done: AtomicBool::new(false),
        };
        let pointer = ptr::from_ref(&job).cast_mut().cast();
        // before looking who sleeps: who goes to sleep looks for offers after having said so
        offer.store(pointer, Ordering::SeqCst);
        self.team.wake_one();
        let a = catch_unwind(AssertUnwindSafe(a));
        let back = offer.compare_exchange(
            pointer,
            ptr::null_mut(),
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        match (back, &a) {
            (Ok(_), Ok(())) => once.run(),
            (Ok(_), Err(_)) => {}
            (Err(_), _) => self.wait_for(&job.done),
        }
        let panic = a.err().or_else(|| lock(&once.panic).take());
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Makes itself useful until another thread is done.
    fn wait_for(&self, done: &AtomicBool) {
        let mut patience = Patience::default();
        while !done.load(Ordering::Acquire) {
            if self.take_one() {
                patience = Patience::default();
            } else {
                patience.wait();
            }
        }
    }

    /// Does what another member offers, if one does.
    #[allow(unsafe_code)]
    fn take_one(&self) -> bool {
        let members = &self.team.members;
        let others = (1..members.len()).map(|i| &members[(self.index + i) % members.len()]);
        for Member { offer, .. } in others {
            let pointer = offer.load(Ordering::Relaxed);
            let taken = !pointer.is_null()
                && offer
                    .compare_exchange(
                        pointer,
                        ptr::null_mut(),
                        Ordering::Acquire,
                        Ordering::Relaxed,
                    )
                    .is_ok();
            if taken {
                // SAFETY: the exchange made this thread the only one that has the pointer, and
                // whoever offered it stays in `join`, where the job lies, until `done` is set: see
                // the module's header.
                let job = unsafe { &*pointer };
                job.work.run();
                job.done.store(true, Ordering::Release);
                return true;
            }
        }
        false
    }

    /// The life of every member but the first.
    fn help(self) {
        let (team, index) = (Arc::clone(&self.team), self.index);
        let me = &team.members[index];
        let _ = me.thread.set(thread::current());
        // what it takes may offer parts of it in its turn
        SEAT.set(Some(Self {
            team: Arc::clone(&team),
            index,
        }));
        let mut patience = Patience::default();
        while !team.ended.load(Ordering::Relaxed) {
            if self.take_one() {
                patience = Patience::default();
            } else if !patience.wait() {
                team.sleep(me);
                patience = Patience::default();
            }
        }
    }
}

impl Shared {
    /// Sleeps until something is offered or the team ends.
    fn sleep(&self, me: &Member) {
        me.asleep.store(true, Ordering::SeqCst);
        let offers = |m: &Member| !m.offer.load(Ordering::SeqCst).is_null();
        if self.ended.load(Ordering::SeqCst) || self.members.iter().any(offers) {
            me.asleep.store(false, Ordering::Relaxed);
            return;
        }
        while me.asleep.load(Ordering::Acquire) {
            thread::park();
        }
    }

    /// Wakes a member that sleeps, if one does.
    fn wake_one(&self) {
        let asleep = |m: &&Member| m.asleep.load(Ordering::SeqCst);
        if let Some(member) = self.members.iter().find(asleep) {
            member.wake();
        }
    }
}

impl Member {
    fn wake(&self) {
        if self.asleep.swap(false, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// Waiting for what is likely to come soon.
#[derive(Default)]
struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// Waits a moment; `false` if that was long enough.
    fn wait(&mut self) -> bool {
        /// Between two looks at the clock, which takes as long.
        const SPINS: u32 = 8;
        let Some(since) = self.since else {
            self.since = Some(Instant::now());
            return true;
        };
        let waited = since.elapsed();
        if waited < EAGER {
            (0..SPINS).for_each(|_| std::hint::spin_loop());
        } else {
            thread::yield_now();
        }
        waited < PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Runs `work` in a team of its own.
    fn with<T>(threads: usize, work: impl FnOnce() -> T) -> io::Result<T> {
        let team = Team::new(threads)?;
        let _sitting = team.sit();
        Ok(work())
    }

    #[test]
    fn one_thread_sits_and_others_work_alone_meanwhile() {
        let team = Team::new(2).expect("a thread");
        let seated = || SEAT.with_borrow(Option::is_some);
        let sitting = team.sit();
        assert!(seated());
        thread::scope(|scope| {
            scope.spawn(|| {
                let _other = team.sit();
                assert!(!seated(), "the seat is taken");
            });
        });
        drop(team.sit());
        assert!(seated(), "who sits stays there");
        drop(sitting);
        assert!(!seated());
        let _again = team.sit();
        assert!(seated());
    }

    /// Adds one to every element, split down to single ones.
    fn count(values: &mut [u32]) {
        match values {
            [] => {}
            [one] => *one += 1,
            more => {
                let (a, b) = more.split_at_mut(more.len() / 2);
                join(|| count(a), || count(b));
            }
        }
    }

    #[test]
    fn everything_is_done_once_in_teams_of_any_size() {
        for threads in [1, 2, 3, 8] {
            let mut values = vec![0; if cfg!(miri) { 20 } else { 1000 }];
            let rounds = if cfg!(miri) { 2 } else { 200 };
            with(threads, || (0..rounds).for_each(|_| count(&mut values))).expect("threads");
            assert!(values.iter().all(|&v| v == rounds), "{threads}");
        }
    }

    #[test]
    fn without_a_team_both_parts_are_done_in_order() {
        let order = Mutex::new(Vec::new());
        join(|| lock(&order).push('a'), || lock(&order).push('b'));
        assert_eq!(*lock(&order), ['a', 'b']);
    }

    #[test]
    fn another_thread_helps() {
        let here = thread::current().id();
        let helped = with(2, || {
            let arrived = AtomicBool::new(false);
            // not before the other thread has come: it must
            let a = || {
                while !arrived.load(Ordering::Acquire) {
                    thread::yield_now();
                }
            };
            let b = || {
                assert_ne!(thread::current().id(), here);
                arrived.store(true, Ordering::Release);
            };
            join(a, b);
            arrived.into_inner()
        });
        assert!(helped.expect("a thread"));
    }

    #[test]
    fn a_sleeping_thread_is_woken_and_a_resting_team_ends() {
        with(3, || {
            thread::sleep(20 * PATIENCE);
            let count = AtomicUsize::new(0);
            let met = || {
                count.fetch_add(1, Ordering::AcqRel);
                while count.load(Ordering::Acquire) < 2 {
                    thread::yield_now();
                }
            };
            join(met, met);
            thread::sleep(20 * PATIENCE);
        })
        .expect("threads");
    }

    #[test]
    fn a_panic_on_either_side_arrives_when_both_have_ended_and_the_team_goes_on() {
        const ROUNDS: usize = if cfg!(miri) { 2 } else { 20 };
        let ended = AtomicUsize::new(0);
        let message = |side: &'static str| {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let part = |name: &'static str| {
                    assert_ne!(name, side, "{name} fails");
                    thread::sleep(Duration::from_millis(1));
                    ended.fetch_add(1, Ordering::Relaxed);
                };
                join(|| part("a"), || part("b"));
            }));
            let panic = caught.expect_err("one side fails");
            panic.downcast_ref::<String>().cloned().unwrap_or_default()
        };
        with(2, || {
            for _ in 0..ROUNDS {
                assert!(message("a").contains("a fails"));
                assert!(message("b").contains("b fails"));
            }
            let mut values = vec![0; 100];
            count(&mut values);
            assert_eq!(values, [1; 100]);
        })
        .expect("threads");
        assert!((ROUNDS..=2 * ROUNDS).contains(&ended.into_inner()));
    }
}
