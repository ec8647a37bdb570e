//! The filters as programs of the kernel's packet filter, for every processor of `boards/`.
//!
//! `seccompiler` compiles filters for x86-64, aarch64 and riscv64 and not for 32-bit Arm. The
//! programs are so plain (a row of comparisons) that they are written here, for all of them alike;
//! the crate brings them to the kernel. A test interprets them, for every processor, on any.
//!
//! ```text
//! another processor's call ─▶ refused
//! number = one of the list ─▶ allowed (or refused, in the first step)
//! number = socket …        ─▶ the argument decides
//! else                     ─▶ refused (or allowed, in the first step)
//! ```
//!
//! What is refused is refused with `EPERM`: whatever asks gets an error, and the program goes on.

use seccompiler::sock_filter;

use super::calls::{
    ALLOWED, ARM, Call, IOCTL, MMAP, MPROTECT, PRCTL, REFUSED, SOCKET, SOCKETPAIR, number,
};

/// A processor: how the kernel calls it, and its column in the tables of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Processor {
    audit: u32,
    column: usize,
}

impl Processor {
    pub(super) const X86_64: Self = Self {
        audit: 0xc000_003e,
        column: 0,
    };
    pub(super) const AARCH64: Self = Self {
        audit: 0xc000_00b7,
        column: 1,
    };
    pub(super) const RISCV64: Self = Self {
        audit: 0xc000_00f3,
        column: 1,
    };
    pub(super) const ARM: Self = Self {
        audit: 0x4000_0028,
        column: 2,
    };

    /// That of this program.
    pub(super) fn own() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::AARCH64),
            "riscv64" => Some(Self::RISCV64),
            "arm" => Some(Self::ARM),
            _ => None,
        }
    }
}

// operations of the packet filter
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_ERRNO` with `EPERM`.
const REFUSE: u32 = 0x0005_0001;

// where things lie in what the kernel hands over
const NUMBER: u32 = 0;
const PROCESSOR: u32 = 4;

/// The lower half of an argument: all of these processors are little-endian.
const fn argument(n: u32) -> u32 {
    16 + 8 * n
}

/// Calls of the x32 interface, which a kernel of x86-64 takes too, have numbers of their own from
/// here on.
const X32: u32 = 0x4000_0000;

const AF_UNIX: u32 = 1;
const PROT_EXEC: u32 = 4;
/// To put keys into a terminal's input, for whoever reads it next.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
/// Names of threads and of memory, privileges that are not regained, whether this may be dumped.
const PRCTLS: [u32; 5] = [15, 16, 38, 3, 0x5356_4d41];

/// How the argument of a call decides.
enum Rule {
    OneOf(&'static [u32]),
    NoneOf(&'static [u32]),
    WithoutBits(u32),
}

const fn op(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Skips one operation if the comparison does not hold.
const fn unless(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 1,
        k,
    }
}

struct Program {
    processor: Processor,
    ops: Vec<sock_filter>,
}

impl Program {
    fn new(processor: Processor) -> Self {
        let mut ops = vec![
            op(LOAD, PROCESSOR),
            // jump over the refusal
            sock_filter {
                jt: 1,
                ..op(IF_EQUAL, processor.audit)
            },
            op(RETURN, REFUSE),
            op(LOAD, NUMBER),
        ];
        if processor == Processor::X86_64 {
            ops.extend([unless(IF_AT_LEAST, X32), op(RETURN, REFUSE)]);
        }
        Self { processor, ops }
    }

    fn number(&mut self, number: u32, answer: u32) {
        self.ops
            .extend([unless(IF_EQUAL, number), op(RETURN, answer)]);
    }

    fn call(&mut self, call: &Call, answer: u32) {
        if let Some(number) = number(call, self.processor.column) {
            self.number(number, answer);
        }
    }

    /// A call of which the `nth` argument decides.
    fn ruled(&mut self, call: &Call, nth: u32, rule: &Rule) {
        let Some(number) = number(call, self.processor.column) else {
            return;
        };
        let mut body = vec![op(LOAD, argument(nth))];
        let (held, otherwise) = match rule {
            Rule::OneOf(values) => {
                let each = values.iter().map(|v| unless(IF_EQUAL, *v));
                body.extend(each.flat_map(|test| [test, op(RETURN, ALLOW)]));
                (ALLOW, REFUSE)
            }
            Rule::NoneOf(values) => {
                let each = values.iter().map(|v| unless(IF_EQUAL, *v));
                body.extend(each.flat_map(|test| [test, op(RETURN, REFUSE)]));
                (REFUSE, ALLOW)
            }
            Rule::WithoutBits(bits) => {
                body.extend([unless(IF_ANY_BIT, *bits), op(RETURN, REFUSE)]);
                (REFUSE, ALLOW)
            }
        };
        debug_assert_ne!(held, otherwise);
        body.push(op(RETURN, otherwise));
        // over all of it for another call; the accumulator holds the number until then
        let over = u8::try_from(body.len()).unwrap_or(u8::MAX);
        self.ops.push(sock_filter {
            jf: over,
            ..op(IF_EQUAL, number)
        });
        self.ops.extend(body);
    }

    fn end(mut self, answer: u32) -> Vec<sock_filter> {
        self.ops.push(op(RETURN, answer));
        self.ops
    }
}

/// The first step: no sockets but local ones, no other programs.
pub(super) fn no_network(processor: Processor) -> Vec<sock_filter> {
    let mut program = Program::new(processor);
    for call in REFUSED {
        program.call(call, REFUSE);
    }
    for call in [SOCKET, SOCKETPAIR] {
        program.ruled(&call, 0, &Rule::OneOf(&[AF_UNIX]));
    }
    program.end(ALLOW)
}

/// The second step: nothing but what is on the list.
pub(super) fn allow_list(processor: Processor) -> Vec<sock_filter> {
    let mut program = Program::new(processor);
    for call in ALLOWED {
        program.call(call, ALLOW);
    }
    for call in [SOCKET, SOCKETPAIR] {
        program.ruled(&call, 0, &Rule::OneOf(&[AF_UNIX]));
    }
    program.ruled(&IOCTL, 1, &Rule::NoneOf(&[TIOCSTI, TIOCLINUX]));
    program.ruled(&PRCTL, 0, &Rule::OneOf(&PRCTLS));
    for call in [MMAP, MPROTECT] {
        program.ruled(&call, 2, &Rule::WithoutBits(PROT_EXEC));
    }
    if processor == Processor::ARM {
        for number in ARM {
            program.number(*number, ALLOW);
        }
    }
    program.end(REFUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Processor; 4] = [
        Processor::X86_64,
        Processor::AARCH64,
        Processor::RISCV64,
        Processor::ARM,
    ];

    /// What the kernel would answer.
    fn answer(program: &[sock_filter], audit: u32, number: u32, arguments: [u32; 3]) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let holds = match code {
                LOAD => {
                    value = match k {
                        NUMBER => number,
                        PROCESSOR => audit,
                        k => arguments[((k - 16) / 8) as usize],
                    };
                    continue;
                }
                RETURN => return k,
                IF_EQUAL => value == k,
                IF_AT_LEAST => value >= k,
                IF_ANY_BIT => value & k != 0,
                code => panic!("operation {code:#x}"),
            };
            at += usize::from(if holds { jt } else { jf });
        }
    }

    #[test]
    fn on_every_processor_the_list_is_allowed_and_nothing_else() {
        for processor in ALL {
            let program = allow_list(processor);
            assert!(program.len() < 4096, "the kernel takes no more");
            let ask = |number, arguments| answer(&program, processor.audit, number, arguments);
            let ruled = [SOCKET, SOCKETPAIR, IOCTL, PRCTL, MMAP, MPROTECT];
            let numbers = |calls: &[Call]| -> Vec<u32> {
                let all = calls.iter();
                all.filter_map(|c| number(c, processor.column)).collect()
            };
            let (listed, ruled) = (numbers(ALLOWED), numbers(&ruled));
            assert_eq!(ruled.len(), 6);
            for n in (0..600).filter(|n| !ruled.contains(n)) {
                let wanted = if listed.contains(&n) { ALLOW } else { REFUSE };
                assert_eq!(ask(n, [0; 3]), wanted, "{processor:?}: {n}");
            }
            for call in numbers(REFUSED) {
                assert_eq!(ask(call, [0; 3]), REFUSE);
            }
            // another processor's numbering, as a 32-bit call of a 64-bit kernel
            assert_eq!(answer(&program, 0x4000_0003, listed[0], [0; 3]), REFUSE);
        }
        let x32 = answer(&allow_list(ALL[0]), ALL[0].audit, X32, [0; 3]);
        assert_eq!(x32, REFUSE);
    }

    #[test]
    fn arguments_decide_about_sockets_terminals_and_executable_memory() {
        for processor in ALL {
            for program in [allow_list(processor), no_network(processor)] {
                for call in [SOCKET, SOCKETPAIR] {
                    let call = number(&call, processor.column).expect("there");
                    for (family, wanted) in [(1, ALLOW), (2, REFUSE), (10, REFUSE), (16, REFUSE)] {
                        let found = answer(&program, processor.audit, call, [family, 1, 0]);
                        assert_eq!(found, wanted, "{processor:?}: family {family}");
                    }
                }
            }
            let program = allow_list(processor);
            let ask = |call: &Call, arguments| {
                let call = number(call, processor.column).expect("there");
                answer(&program, processor.audit, call, arguments)
            };
            assert_eq!(ask(&IOCTL, [0, TIOCSTI, 0]), REFUSE);
            assert_eq!(ask(&IOCTL, [0, 0x5401, 0]), ALLOW);
            assert_eq!(ask(&PRCTL, [15, 0, 0]), ALLOW);
            assert_eq!(ask(&PRCTL, [22, 0, 0]), REFUSE);
            for call in [MMAP, MPROTECT] {
                assert_eq!(ask(&call, [0, 4096, 3]), ALLOW);
                assert_eq!(ask(&call, [0, 4096, 5]), REFUSE);
            }
        }
    }

    #[test]
    fn the_first_step_takes_the_network_and_other_programs_and_nothing_else() {
        for processor in ALL {
            let program = no_network(processor);
            let ask = |number| answer(&program, processor.audit, number, [0; 3]);
            let refused: Vec<u32> = (0..600).filter(|n| ask(*n) == REFUSE).collect();
            let mut wanted: Vec<u32> = REFUSED
                .iter()
                .chain([&SOCKET, &SOCKETPAIR])
                .filter_map(|c| number(c, processor.column))
                .collect();
            wanted.sort_unstable();
            assert_eq!(refused, wanted, "{processor:?}");
        }
    }

    #[test]
    fn no_number_stands_twice_in_a_column() {
        for column in 0..3 {
            let mut all: Vec<u32> = ALLOWED.iter().filter_map(|c| number(c, column)).collect();
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count, "column {column}");
        }
    }
}
