//! The system calls that the program makes once it has started, and their numbers on each
//! processor.
//!
//! The numbers are those of the kernel's tables, which never change. The columns: x86-64; aarch64
//! and riscv64, which share one list; 32-bit Arm. It is no list of what one version of one C
//! library was seen to call, but of what C libraries call for what this program does: files, local
//! sockets, threads, clocks, memory. So it outlives them.

/// Not on this processor.
const NONE: u32 = u32::MAX;

/// Name, and number on x86-64, on aarch64 and riscv64, on 32-bit Arm.
pub(super) type Call = (&'static str, [u32; 3]);

/// The call's number in a column, if the processor has it.
pub(super) fn number(call: &Call, column: usize) -> Option<u32> {
    call.1.get(column).copied().filter(|n| *n != NONE)
}

/// What is allowed whatever its arguments.
pub(super) const ALLOWED: &[Call] = &[
    // The loop, its threads and their clocks.
    ("read", [0, 63, 3]),
    ("write", [1, 64, 4]),
    ("readv", [19, 65, 145]),
    ("writev", [20, 66, 146]),
    ("pread64", [17, 67, 180]),
    ("pwrite64", [18, 68, 181]),
    ("preadv", [295, 69, 361]),
    ("pwritev", [296, 70, 362]),
    ("poll", [7, NONE, 168]),
    ("ppoll", [271, 73, 336]),
    ("ppoll_time64", [NONE, NONE, 414]),
    ("select", [23, NONE, NONE]),
    ("_newselect", [NONE, NONE, 142]),
    ("pselect6", [270, 72, 335]),
    ("pselect6_time64", [NONE, NONE, 413]),
    ("epoll_create", [213, NONE, 250]),
    ("epoll_create1", [291, 20, 357]),
    ("epoll_ctl", [233, 21, 251]),
    ("epoll_wait", [232, NONE, 252]),
    ("epoll_pwait", [281, 22, 346]),
    ("epoll_pwait2", [441, 441, 441]),
    ("futex", [202, 98, 240]),
    ("futex_time64", [NONE, NONE, 422]),
    ("futex_waitv", [449, 449, 449]),
    ("futex_wake", [454, 454, 454]),
    ("futex_wait", [455, 455, 455]),
    ("futex_requeue", [456, 456, 456]),
    ("eventfd2", [290, 19, 356]),
    ("clock_gettime", [228, 113, 263]),
    ("clock_gettime64", [NONE, NONE, 403]),
    ("clock_getres", [229, 114, 264]),
    ("clock_getres_time64", [NONE, NONE, 406]),
    ("clock_nanosleep", [230, 115, 265]),
    ("clock_nanosleep_time64", [NONE, NONE, 407]),
    ("nanosleep", [35, 101, 162]),
    ("gettimeofday", [96, 169, 78]),
    ("time", [201, NONE, NONE]),
    ("sched_yield", [24, 124, 158]),
    ("sched_getaffinity", [204, 123, 242]),
    // a preparing thread steps back
    ("getpriority", [140, 141, 96]),
    ("setpriority", [141, 140, 97]),
    ("getcpu", [309, 168, 345]),
    ("membarrier", [324, 283, 389]),
    ("rseq", [334, 293, 398]),
    ("set_robust_list", [273, 99, 338]),
    ("get_robust_list", [274, 100, 339]),
    ("set_tid_address", [218, 96, 256]),
    ("clone", [56, 220, 120]),
    ("clone3", [435, 435, 435]),
    ("exit", [60, 93, 1]),
    ("exit_group", [231, 94, 248]),
    ("tgkill", [234, 131, 268]),
    ("gettid", [186, 178, 224]),
    ("getpid", [39, 172, 20]),
    ("getppid", [110, 173, 64]),
    ("restart_syscall", [219, 128, 0]),
    // Signals.
    ("rt_sigaction", [13, 134, 174]),
    ("rt_sigprocmask", [14, 135, 175]),
    ("rt_sigreturn", [15, 139, 173]),
    ("sigreturn", [NONE, NONE, 119]),
    ("rt_sigtimedwait", [128, 137, 177]),
    ("rt_sigtimedwait_time64", [NONE, NONE, 421]),
    ("rt_sigpending", [127, 136, 176]),
    ("sigaltstack", [131, 132, 186]),
    // Memory; what makes memory executable is looked at in `filter.rs`.
    ("munmap", [11, 215, 91]),
    ("mremap", [25, 216, 163]),
    ("madvise", [28, 233, 220]),
    ("brk", [12, 214, 45]),
    ("mlock2", [325, 284, 390]),
    ("memfd_create", [319, 279, 385]),
    // Files and folders; which ones is the business of `places.rs`.
    ("open", [2, NONE, 5]),
    ("openat", [257, 56, 322]),
    ("openat2", [437, 437, 437]),
    ("close", [3, 57, 6]),
    ("close_range", [436, 436, 436]),
    ("stat", [4, NONE, 106]),
    ("lstat", [6, NONE, 107]),
    ("fstat", [5, 80, 108]),
    ("newfstatat", [262, 79, NONE]),
    ("stat64", [NONE, NONE, 195]),
    ("lstat64", [NONE, NONE, 196]),
    ("fstat64", [NONE, NONE, 197]),
    ("fstatat64", [NONE, NONE, 327]),
    ("statx", [332, 291, 397]),
    ("statfs", [137, 43, 99]),
    ("fstatfs", [138, 44, 100]),
    ("statfs64", [NONE, NONE, 266]),
    ("fstatfs64", [NONE, NONE, 267]),
    ("lseek", [8, 62, 19]),
    ("_llseek", [NONE, NONE, 140]),
    ("getdents", [78, NONE, 141]),
    ("getdents64", [217, 61, 217]),
    ("access", [21, NONE, 33]),
    ("faccessat", [269, 48, 334]),
    ("faccessat2", [439, 439, 439]),
    ("readlink", [89, NONE, 85]),
    ("readlinkat", [267, 78, 332]),
    ("getcwd", [79, 17, 183]),
    ("unlink", [87, NONE, 10]),
    ("unlinkat", [263, 35, 328]),
    ("rename", [82, NONE, 38]),
    ("renameat", [264, 38, 329]),
    ("renameat2", [316, 276, 382]),
    ("mkdir", [83, NONE, 39]),
    ("mkdirat", [258, 34, 323]),
    ("link", [86, NONE, 9]),
    ("linkat", [265, 37, 330]),
    ("chmod", [90, NONE, 15]),
    ("fchmod", [91, 52, 94]),
    ("fchmodat", [268, 53, 333]),
    ("fchmodat2", [452, 452, 452]),
    ("chown", [92, NONE, 182]),
    ("chown32", [NONE, NONE, 212]),
    ("lchown", [94, NONE, 16]),
    ("lchown32", [NONE, NONE, 198]),
    ("fchown", [93, 55, 95]),
    ("fchown32", [NONE, NONE, 207]),
    ("fchownat", [260, 54, 325]),
    ("ftruncate", [77, 46, 93]),
    ("ftruncate64", [NONE, NONE, 194]),
    ("fallocate", [285, 47, 352]),
    ("fsync", [74, 82, 118]),
    ("fdatasync", [75, 83, 148]),
    ("flock", [73, 32, 143]),
    ("fcntl", [72, 25, 55]),
    ("fcntl64", [NONE, NONE, 221]),
    ("dup", [32, 23, 41]),
    ("dup2", [33, NONE, 63]),
    ("dup3", [292, 24, 358]),
    ("pipe", [22, NONE, 42]),
    ("pipe2", [293, 59, 359]),
    ("umask", [95, 166, 60]),
    ("copy_file_range", [326, 285, 391]),
    ("sendfile", [40, 71, 187]),
    ("sendfile64", [NONE, NONE, 239]),
    ("fadvise64", [221, 223, NONE]),
    ("arm_fadvise64_64", [NONE, NONE, 270]),
    ("readahead", [187, 213, 225]),
    // Local sockets; of which family one is made is looked at in `filter.rs`.
    ("connect", [42, 203, 283]),
    ("bind", [49, 200, 282]),
    ("listen", [50, 201, 284]),
    ("accept", [43, 202, 285]),
    ("accept4", [288, 242, 366]),
    ("getsockname", [51, 204, 286]),
    ("getpeername", [52, 205, 287]),
    ("getsockopt", [55, 209, 295]),
    ("setsockopt", [54, 208, 294]),
    ("sendto", [44, 206, 290]),
    ("sendmsg", [46, 211, 296]),
    ("sendmmsg", [307, 269, 374]),
    ("recvfrom", [45, 207, 292]),
    ("recvmsg", [47, 212, 297]),
    ("recvmmsg", [299, 243, 365]),
    ("recvmmsg_time64", [NONE, NONE, 417]),
    ("recv", [NONE, NONE, 291]),
    ("send", [NONE, NONE, 289]),
    ("shutdown", [48, 210, 293]),
    // What the process asks about itself, and more walls.
    ("getuid", [102, 174, 24]),
    ("geteuid", [107, 175, 49]),
    ("getgid", [104, 176, 47]),
    ("getegid", [108, 177, 50]),
    ("getuid32", [NONE, NONE, 199]),
    ("geteuid32", [NONE, NONE, 201]),
    ("getgid32", [NONE, NONE, 200]),
    ("getegid32", [NONE, NONE, 202]),
    ("uname", [63, 160, 122]),
    ("sysinfo", [99, 179, 116]),
    ("getrandom", [318, 278, 384]),
    ("getrusage", [98, 165, 77]),
    ("getrlimit", [97, 163, NONE]),
    ("ugetrlimit", [NONE, NONE, 191]),
    ("prlimit64", [302, 261, 369]),
    ("times", [100, 153, 43]),
    ("seccomp", [317, 277, 383]),
    ("arch_prctl", [158, NONE, NONE]),
];

/// Calls of which an argument decides.
pub(super) const SOCKET: Call = ("socket", [41, 198, 281]);
pub(super) const SOCKETPAIR: Call = ("socketpair", [53, 199, 288]);
pub(super) const IOCTL: Call = ("ioctl", [16, 29, 54]);
pub(super) const PRCTL: Call = ("prctl", [157, 167, 172]);
/// `mmap2` on 32-bit Arm, with the same third argument.
pub(super) const MMAP: Call = ("mmap", [9, 222, 192]);
pub(super) const MPROTECT: Call = ("mprotect", [10, 226, 125]);

/// What is refused before anything foreign is read: other ways to a socket, and other programs,
/// which know nothing of the promise.
pub(super) const REFUSED: &[Call] = &[
    ("io_uring_setup", [425, 425, 425]),
    ("execve", [59, 221, 11]),
    ("execveat", [322, 281, 387]),
    ("ptrace", [101, 117, 26]),
    ("process_vm_writev", [311, 271, 377]),
];

/// Calls that only Arm's kernel has, beside its table: to tell the processor of new code, and of a
/// thread's storage.
pub(super) const ARM: &[u32] = &[0x000f_0002, 0x000f_0005];
