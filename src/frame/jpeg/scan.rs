//! The entropy code of a scan, walked to its last block without making coefficients of it.
//!
//! Only lengths matter: a Huffman code says how many bits follow it and how many coefficients it
//! stands for. In progressive pictures a refining scan has one bit for each coefficient that is not
//! zero yet, so which these are is kept, one bit each (T.81, G.1.2.3).

use super::{Fault, damaged};

/// Bits of a code that are looked up at once; longer codes are rare.
const LOOK: u32 = 10;

/// What a scan has of one component.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Which component of the frame.
    pub(super) component: usize,
    /// Blocks of it in a unit.
    pub(super) blocks: usize,
    /// Its blocks, when it is alone in a scan.
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// Tables of the constant and of the varying coefficients.
    pub(super) constant: u8,
    pub(super) varying: u8,
}

/// How the coefficients of a scan are coded.
#[derive(Clone, Copy, Debug)]
pub(super) enum Coding {
    /// All of a block at once.
    Sequential,
    /// Those from `band.0` to `band.1`, some of their bits.
    Progressive { band: (usize, usize), refines: bool },
}

/// A Huffman table.
#[derive(Clone, Debug)]
struct Table {
    /// By the next [`LOOK`] bits: the code's length, and its symbol above it; a length of 0 means
    /// that the code is longer.
    look: [u16; 1 << LOOK],
    /// By the same bits, for blocks that come at once: how many bits the code and what follows it
    /// have, and above it how many coefficients are done with; 0 as above.
    jump: [u16; 1 << LOOK],
    /// The first code that is longer than this many bits, aligned to 16 bits.
    limits: [u32; 17],
    /// What to add to a code of this many bits to have its symbol's place.
    offsets: [i32; 17],
    symbols: [u8; 256],
}

impl Table {
    const EMPTY: Self = Self {
        look: [0; 1 << LOOK],
        jump: [0; 1 << LOOK],
        limits: [0; 17],
        offsets: [0; 17],
        symbols: [0; 256],
    };

    /// T.81, annex C; `lengths` are counts of codes of 1 to 16 bits.
    fn fill(&mut self, lengths: &[u8; 16], symbols: &[u8]) -> Result<(), Fault> {
        let table = self;
        *table = Self::EMPTY;
        table.symbols[..symbols.len()].copy_from_slice(symbols);
        let (mut code, mut index) = (0u32, 0usize);
        for (bits, &count) in (1u32..).zip(lengths) {
            table.offsets[bits as usize] = index as i32 - code as i32;
            for &symbol in &symbols[index..index + usize::from(count)] {
                if code >= 1 << bits {
                    return damaged("a Huffman table has more codes than there are");
                }
                if bits <= LOOK {
                    let first = (code << (LOOK - bits)) as usize;
                    let same = first..first + (1 << (LOOK - bits));
                    table.look[same.clone()].fill(bits as u16 | u16::from(symbol) << 8);
                    let (size, done) = step(symbol);
                    table.jump[same].fill((bits + size) as u16 | (done as u16) << 8);
                }
                code += 1;
            }
            index += usize::from(count);
            table.limits[bits as usize] = code << (16 - bits);
            code <<= 1;
        }
        Ok(())
    }
}

/// What a symbol means in a block that comes at once: how many bits follow it, and how many
/// coefficients are done with; with the block's end it is all of them.
fn step(symbol: u8) -> (u32, u32) {
    let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
    match (run, size) {
        (15, 0) => (0, 16),
        (_, 0) => (0, 64),
        _ => (size, run + 1),
    }
}

/// Bits of a scan, stuffed bytes removed, up to the next marker; behind that there are zeros.
struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte to read; at a marker it stays.
    at: usize,
    /// Bits that were read, the next one uppermost; zeros behind them.
    held: u64,
    count: u32,
    /// How many of the bits held, the last ones, did not come.
    made_up: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            held: 0,
            count: 0,
            made_up: 0,
        }
    }

    /// Holds 32 bits or more.
    #[inline(always)]
    fn fill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(&four) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<4>) {
            let word = u32::from_be_bytes(four);
            // no byte of it is FF: no byte of its complement is zero
            let rest = !word;
            if rest.wrapping_sub(0x0101_0101) & !rest & 0x8080_8080 == 0 {
                self.held |= u64::from(word) << (32 - self.count);
                self.count += 32;
                self.at += 4;
                return;
            }
        }
        self.fill_bytes();
    }

    #[cold]
    fn fill_bytes(&mut self) {
        while self.count < 32 {
            let byte = match self.bytes.get(self.at..).unwrap_or_default() {
                [0xFF, 0x00, ..] => {
                    self.at += 2;
                    0xFF
                }
                [0xFF, ..] | [] => {
                    self.made_up = (self.made_up + 8).min(64);
                    0
                }
                [byte, ..] => {
                    self.at += 1;
                    *byte
                }
            };
            self.held |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline(always)]
    fn peek(&self, bits: u32) -> u32 {
        (self.held >> (64 - bits)) as u32
    }

    /// Passes over bits that are held.
    #[inline(always)]
    fn pass(&mut self, bits: u32) {
        self.held <<= bits;
        self.count -= bits;
    }

    /// Passes over any number of bits.
    fn pass_many(&mut self, mut bits: u32) {
        while bits > 0 {
            self.fill();
            let some = bits.min(32);
            self.pass(some);
            bits -= some;
        }
    }

    fn take(&mut self, bits: u32) -> u32 {
        self.fill();
        let value = if bits == 0 { 0 } else { self.peek(bits) };
        self.pass(bits);
        value
    }

    /// Whether bits were passed that did not come.
    #[inline(always)]
    fn is_beyond(&self) -> bool {
        self.made_up > self.count
    }

    /// The next symbol; no code means damage.
    #[inline(always)]
    fn symbol(&mut self, table: &Table) -> Option<u8> {
        self.fill();
        let found = table.look[self.peek(LOOK) as usize];
        if found > 0 {
            self.pass(u32::from(found as u8));
            return Some((found >> 8) as u8);
        }
        self.long_symbol(table)
    }

    #[cold]
    fn long_symbol(&mut self, table: &Table) -> Option<u8> {
        let next = self.peek(16);
        let bits = (LOOK + 1..=16).find(|&bits| next < table.limits[bits as usize])?;
        let code = (next >> (16 - bits)) as i32;
        self.pass(bits);
        let place = usize::try_from(code + table.offsets[bits as usize]).ok()?;
        table.symbols.get(place).copied()
    }

    /// A block's constant coefficient.
    #[inline(always)]
    fn constant(&mut self, table: &Table) -> Option<()> {
        let size = self.symbol(table)?;
        if size > 15 {
            return None;
        }
        self.fill();
        self.pass(u32::from(size));
        Some(())
    }

    /// A block's other coefficients, all at once.
    #[inline(always)]
    fn varying(&mut self, table: &Table) -> Option<()> {
        let mut k = 1u32;
        while k < 64 {
            self.fill();
            let found = table.jump[self.peek(LOOK) as usize];
            let done = if found > 0 {
                self.pass(u32::from(found as u8));
                u32::from(found >> 8)
            } else {
                let (bits, done) = step(self.long_symbol(table)?);
                self.fill();
                self.pass(bits);
                done
            };
            k += done;
        }
        // libjpeg says nothing of a run beyond the block's end, and some writers let zeros reach there
        Some(())
    }
}

/// Walks scans; its buffers are kept.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Four for constant coefficients, four for the others; none before the first picture.
    tables: Vec<Table>,
    /// Which of them the picture has.
    has: [bool; 8],
    /// Units between two restarts; 0: none.
    interval: usize,
    /// For each component and block, which coefficients are not zero; empty where no scan has them.
    set: [Vec<u64>; 4],
    /// The tables are those of T.81, annex K.
    standard: bool,
}

impl Walk {
    /// A new picture.
    pub(super) fn begin(&mut self) {
        self.interval = 0;
        for set in &mut self.set {
            // kept for small pictures only: those of cameras are seldom progressive
            if set.capacity() > 1 << 16 {
                *set = Vec::new();
            }
            set.clear();
        }
        self.tables.resize(8, Table::EMPTY);
        if !self.standard {
            self.has = [false; 8];
        }
    }

    pub(super) fn restart_every(&mut self, units: u16) {
        self.interval = units.into();
    }

    /// Takes a segment of tables: T.81, B.2.4.2.
    pub(super) fn tables(&mut self, mut segment: &[u8]) -> Result<(), Fault> {
        if self.standard {
            self.has = [false; 8];
            self.standard = false;
        }
        while let Some((&kind, rest)) = segment.split_first() {
            let wrong = || Fault::Damaged("a Huffman table has a wrong length".into());
            let lengths = rest.first_chunk::<16>().ok_or_else(wrong)?;
            let count = lengths.iter().map(|&n| usize::from(n)).sum::<usize>();
            let symbols = rest.get(16..16 + count).filter(|_| count <= 256);
            let symbols = symbols.ok_or_else(wrong)?;
            let (class, index) = (kind >> 4, usize::from(kind & 15));
            if class > 1 || index > 3 {
                return damaged(format!("there is no Huffman table {kind:02X}"));
            }
            let place = usize::from(class) * 4 + index;
            self.tables[place].fill(lengths, symbols)?;
            self.has[place] = true;
            segment = &rest[16 + count..];
        }
        Ok(())
    }

    /// Takes the tables that are meant where there are none.
    pub(super) fn standard_tables(&mut self) {
        if self.standard {
            return;
        }
        // they are right
        let _ = self.tables(&STANDARD);
        self.standard = true;
    }

    /// Walks one scan; returns where the marker behind it is to be looked for.
    pub(super) fn scan(
        &mut self,
        number: usize,
        parts: &[Part],
        (columns, rows): (usize, usize),
        coding: Coding,
        bytes: &[u8],
        at: usize,
    ) -> Result<usize, Fault> {
        let units = columns * rows;
        if let (Coding::Progressive { band: (1.., _), .. }, [part]) = (coding, parts) {
            // before this scan came one with a bit or more for each of these blocks
            self.set[part.component].resize(units, 0);
        }
        let Self {
            tables,
            has,
            interval,
            set,
            ..
        } = self;
        let lacks = |kind: &str, index: u8| {
            Fault::Damaged(format!(
                "scan {number} lacks its {kind} Huffman table {index}"
            ))
        };
        let mut walker = Walker {
            bits: Bits::new(bytes, at),
            tables: heapless::Vec::new(),
            set: None,
            zeros: 0,
        };
        for part in parts {
            // only those that are needed: what is said of one that lacks is made anew
            let table = |first: usize, index: u8, kind: &str| {
                let place = first + usize::from(index & 3);
                let table = (index < 4 && has[place]).then(|| &tables[place]);
                table.ok_or_else(|| lacks(kind, index))
            };
            let dc = || table(0, part.constant, "DC");
            let ac = || table(4, part.varying, "AC");
            let (dc, ac) = match coding {
                Coding::Sequential => (Some(dc()?), Some(ac()?)),
                Coding::Progressive {
                    band: (0, _),
                    refines,
                } => (if refines { None } else { Some(dc()?) }, None),
                Coding::Progressive { .. } => (None, Some(ac()?)),
            };
            // there are at most four
            let _ = walker.tables.push((part.blocks, dc, ac));
        }
        if let [part] = parts {
            walker.set = Some(&mut set[part.component]);
        }
        let short = |units_done: usize, at: usize| match next_in_scan(bytes, at) {
            // it may be cut inside a marker
            None => Fault::Cut,
            Some(_) => Fault::Short {
                scan: number,
                units: units_done as u64,
                of: units as u64,
            },
        };
        let mut until_restart = *interval;
        let mut restarts = 0u8;
        for unit in 0..units {
            if *interval > 0 {
                if until_restart == 0 {
                    walker.zeros = 0;
                    let at = walker.bits.at;
                    let behind = restart(bytes, at, restarts).ok_or_else(|| short(unit, at))?;
                    walker.bits = Bits::new(bytes, behind);
                    restarts = (restarts + 1) % 8;
                    until_restart = *interval;
                }
                until_restart -= 1;
            }
            let done = match coding {
                Coding::Sequential => walker.sequential(),
                Coding::Progressive {
                    band: (0, _),
                    refines,
                } => walker.constants(refines),
                Coding::Progressive {
                    band,
                    refines: false,
                } => walker.first(unit, band),
                Coding::Progressive {
                    band,
                    refines: true,
                } => walker.refine(unit, band),
            };
            if walker.bits.is_beyond() {
                return Err(short(unit, walker.bits.at));
            }
            if done.is_none() {
                return damaged(format!(
                    "scan {number} makes no sense in unit {unit} of its {units}"
                ));
            }
        }
        behind(number, bytes, at, walker.bits.at)
    }
}

/// Finds the restart marker `number` at the end of an interval; some writers pad before it.
fn restart(bytes: &[u8], at: usize, number: u8) -> Option<usize> {
    let (marker, behind) = next_in_scan(bytes, at)?;
    (marker == 0xD0 + number).then_some(behind)
}

/// The next marker of a scan: stuffed bytes and data are passed over.
fn next_in_scan(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        let (marker, behind) = super::next_marker(bytes, at)?;
        if marker != 0 {
            return Some((marker, behind));
        }
        at = behind;
    }
}

/// Where the marker behind a scan that is done stands, or begins.
///
/// Some cameras leave a few bytes behind the last block, or fill up with zeros. Much that is left
/// means that the picture was larger: its size is damaged.
fn behind(number: usize, bytes: &[u8], first: usize, at: usize) -> Result<usize, Fault> {
    let mut end = at;
    loop {
        match super::next_marker(bytes, end) {
            None => return Err(Fault::Cut),
            Some((0 | 0xD0..=0xD7, behind)) => end = behind,
            Some((_, behind)) => {
                // at the marker's FF
                let end = behind - 2;
                let left = bytes[at.min(end)..end].iter().filter(|&&b| b != 0).count();
                let most = ((end - first) / 8).max(256);
                if left > most {
                    return damaged(format!(
                        "scan {number} goes on for {left} bytes behind its last block"
                    ));
                }
                return Ok(end);
            }
        }
    }
}

/// A scan on the way.
struct Walker<'a> {
    bits: Bits<'a>,
    /// Blocks in a unit, and the tables that they need.
    tables: heapless::Vec<(usize, Option<&'a Table>, Option<&'a Table>), 4>,
    set: Option<&'a mut Vec<u64>>,
    /// Blocks of a run in which nothing new comes that are still to be done.
    zeros: u32,
}

impl Walker<'_> {
    #[inline(always)]
    fn sequential(&mut self) -> Option<()> {
        for &(blocks, dc, ac) in &self.tables {
            let (dc, ac) = (dc?, ac?);
            for _ in 0..blocks {
                self.bits.constant(dc)?;
                self.bits.varying(ac)?;
            }
        }
        Some(())
    }

    fn constants(&mut self, refines: bool) -> Option<()> {
        for &(blocks, dc, _) in &self.tables {
            for _ in 0..blocks {
                match dc {
                    Some(table) => self.bits.constant(table)?,
                    None if refines => {
                        self.bits.take(1);
                    }
                    None => return None,
                }
            }
        }
        Some(())
    }

    /// A run of blocks that end here.
    fn run(&mut self, run: u8) -> u32 {
        (1 << run) + self.bits.take(u32::from(run))
    }

    fn first(&mut self, unit: usize, (first, last): (usize, usize)) -> Option<()> {
        if self.zeros > 0 {
            self.zeros -= 1;
            return Some(());
        }
        let table = self.tables.first()?.2?;
        let mut k = first;
        let mut found = 0u64;
        while k <= last {
            let symbol = self.bits.symbol(table)?;
            let (run, size) = (symbol >> 4, symbol & 15);
            match (run, size) {
                (15, 0) => k += 16,
                (_, 0) => {
                    self.zeros = self.run(run) - 1;
                    break;
                }
                _ => {
                    k += usize::from(run);
                    if k > last {
                        return None;
                    }
                    self.bits.take(u32::from(size));
                    found |= 1 << k;
                    k += 1;
                }
            }
        }
        *self.set.as_deref_mut()?.get_mut(unit)? |= found;
        Some(())
    }

    fn refine(&mut self, unit: usize, (first, last): (usize, usize)) -> Option<()> {
        let table = self.tables.first()?.2?;
        let mut set = *self.set.as_deref()?.get(unit)?;
        let mut k = first;
        if self.zeros == 0 {
            while k <= last {
                let symbol = self.bits.symbol(table)?;
                let (mut run, size) = (symbol >> 4, symbol & 15);
                match size {
                    0 if run < 15 => {
                        self.zeros = self.run(run);
                        break;
                    }
                    0 => {}
                    _ => {
                        self.bits.take(1);
                    }
                }
                // over `run` coefficients that are zero; the others have a bit each
                while k <= last {
                    if set >> k & 1 == 1 {
                        self.bits.take(1);
                    } else if run == 0 {
                        break;
                    } else {
                        run -= 1;
                    }
                    k += 1;
                }
                if size > 0 {
                    if k > last {
                        return None;
                    }
                    set |= 1 << k;
                }
                k += 1;
            }
        }
        if self.zeros > 0 {
            if k <= last {
                let band = (u64::MAX >> (63 - last)) & (u64::MAX << k);
                self.bits.pass_many((set & band).count_ones());
            }
            self.zeros -= 1;
        }
        *self.set.as_deref_mut()?.get_mut(unit)? = set;
        Some(())
    }
}

/// The tables of T.81, annex K.3, as a segment has them.
#[rustfmt::skip]
const STANDARD: [u8; 416] = [
    0x00, 0x00, 0x01, 0x05, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x10, 0x00, 0x02,
    0x01, 0x03, 0x03, 0x02, 0x04, 0x03, 0x05, 0x05, 0x04, 0x04, 0x00, 0x00, 0x01, 0x7D, 0x01, 0x02,
    0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33,
    0x62, 0x72, 0x82, 0x09, 0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A,
    0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53,
    0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73,
    0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92,
    0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9,
    0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7,
    0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2, 0xE3, 0xE4,
    0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
    0x01, 0x00, 0x03, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x11, 0x00, 0x02,
    0x01, 0x02, 0x04, 0x04, 0x03, 0x04, 0x07, 0x05, 0x04, 0x04, 0x00, 0x01, 0x02, 0x77, 0x00, 0x01,
    0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0, 0x15, 0x62,
    0x72, 0xD1, 0x0A, 0x16, 0x24, 0x34, 0xE1, 0x25, 0xF1, 0x17, 0x18, 0x19, 0x1A, 0x26, 0x27, 0x28,
    0x29, 0x2A, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A,
    0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A,
    0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89,
    0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7,
    0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5,
    0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE2, 0xE3,
    0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];
