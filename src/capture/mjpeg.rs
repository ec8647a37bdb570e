//! Cuts a stream of bytes into whole JPEG pictures.
//!
//! ```text
//! ── garbage ──│FFD8│ segments, skipped by their lengths │FFDA scan …│FFD9│── next picture ──
//!    Seek           Marker ⇄ Segment                       Scan      └─ cut here
//! ```
//!
//! The walk is that of ITU-T T.81, annex B, so a start or end marker inside a thumbnail or a text
//! is not taken for the picture's. What does not fit (a length that leads nowhere, a marker that
//! cannot stand there, a picture without end) costs that picture and is counted; the search goes on
//! right behind the start that was wrong, so that a damaged length does not swallow the next
//! picture.
//!
//! Some cameras leave the end marker out. Where the next start stands in or behind a scan, what
//! came before is handed out with an end of ours: the decoder, which walks every scan to its last
//! block, knows whether it was whole.
//!
//! Every byte is looked at once, but for those of damaged pictures. Going back is paid from a
//! credit of [`CREDIT`] bytes for each that comes; without credit the search goes on where the walk
//! stopped. So the work is linear in the bytes, whatever they are: start markers that all lead into
//! one long scan would else each walk all of it.

use crate::frame::slim;

/// How many bytes are looked at again, at most, for each that comes: a stream of a camera needs
/// none.
const CREDIT: usize = 8;

/// Where in a picture the walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a picture.
    Seek,
    /// A marker must stand here; whether a scan was seen before.
    Marker { scanned: bool },
    /// In entropy-coded bytes.
    Scan,
}

/// Takes bytes, gives pictures.
#[derive(Debug)]
pub(super) struct Cutter {
    held: Vec<u8>,
    /// Start of the current picture; everything before it is done with.
    start: usize,
    /// The next byte to look at.
    at: usize,
    place: Place,
    damaged: u64,
    /// How far any walk has come.
    seen: usize,
    /// Bytes that may still be looked at, negative after a long walk.
    credit: isize,
    /// Pictures without an end marker that were handed out.
    endless: u64,
    /// The one that is handed out, with its end.
    ended: Vec<u8>,
    /// The longest picture that is put together.
    most: usize,
}

impl Cutter {
    /// Cuts out pictures of up to so many bytes.
    pub(super) const fn new(most: usize) -> Self {
        Self {
            most,
            held: Vec::new(),
            start: 0,
            at: 0,
            place: Place::Seek,
            damaged: 0,
            seen: 0,
            credit: 0,
            endless: 0,
            ended: Vec::new(),
        }
    }

    /// Takes what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        // what is kept moves seldom: of a long picture's bytes, each would else move with every
        // read
        if self.start > 0 && self.start >= self.held.len() / 2 {
            self.held.drain(..self.start);
            self.at -= self.start;
            self.seen = self.seen.saturating_sub(self.start);
            self.start = 0;
            let wanted = self.held.len() + bytes.len();
            slim(&mut self.held, wanted);
        }
        let wanted = self.held.len() + bytes.len();
        if wanted > self.held.capacity() {
            // twice as much, as a Vec would, but no more than a picture and what comes at once
            let room = (2 * self.held.len())
                .min(self.most + bytes.len())
                .max(wanted);
            self.held.reserve_exact(room - self.held.len());
        }
        self.held.extend_from_slice(bytes);
        // a long good stream saves up for one picture, not for all times
        let most = (CREDIT * self.most).cast_signed();
        let earned = (CREDIT * bytes.len()).cast_signed();
        self.credit = self.credit.saturating_add(earned).min(most);
    }

    /// Pictures that were begun and given up.
    pub(super) const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Forgets what was begun: the stream was interrupted.
    pub(super) fn interrupt(&mut self) {
        if self.place != Place::Seek {
            self.damaged += 1;
        }
        (self.start, self.at, self.place) = (0, 0, Place::Seek);
        self.seen = 0;
        self.held.clear();
    }

    /// Pictures that were handed out with an end of ours.
    pub(super) const fn endless(&self) -> u64 {
        self.endless
    }

    /// The stream is over: the last picture, if only its end marker is missing.
    pub(super) fn last(&mut self) -> Option<&[u8]> {
        match self.place {
            Place::Scan | Place::Marker { scanned: true } => Some(self.cut_before(self.held.len())),
            _ => None,
        }
    }

    /// The next whole picture, if all of it has come.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        loop {
            let rest = &self.held[self.at..];
            self.seen = self.seen.max(self.at);
            match self.place {
                Place::Seek => {
                    let found = rest.windows(3).position(|w| w == [0xFF, 0xD8, 0xFF]);
                    self.credit -= found.unwrap_or(rest.len()).cast_signed();
                    let Some(skip) = found else {
                        // the last two bytes may be the beginning of a start
                        self.at += rest.len().saturating_sub(2);
                        self.start = self.at;
                        return None;
                    };
                    self.start = self.at + skip;
                    self.at = self.start + 2;
                    self.place = Place::Marker { scanned: false };
                }
                Place::Marker { scanned } => match rest {
                    // a fill byte
                    [0xFF, 0xFF, ..] => (self.at, self.credit) = (self.at + 1, self.credit - 1),
                    [0xFF, 0xD9, ..] if scanned => return Some(self.cut()),
                    // the next picture's start: this one has no end marker
                    [0xFF, 0xD8] if scanned => return self.wait(),
                    [0xFF, 0xD8, 0xFF, ..] if scanned => return Some(self.cut_before(self.at)),
                    // stands alone
                    [0xFF, 0x01, ..] => self.at += 2,
                    // not here: no scan yet, no marker at all, or the next picture's start
                    [0xFF, 0x00 | 0xD0..=0xD9, ..] => self.give_up(),
                    [0xFF, code, high, low, ..] => {
                        let length = usize::from(u16::from_be_bytes([*high, *low]));
                        if length < 2 {
                            self.give_up();
                            continue;
                        }
                        let scan = *code == 0xDA;
                        // beyond what is held, perhaps: then the next look waits for it
                        if rest.len() < 2 + length {
                            return self.wait();
                        }
                        self.credit -= 4;
                        self.at += 2 + length;
                        self.place = if scan {
                            Place::Scan
                        } else {
                            Place::Marker { scanned }
                        };
                    }
                    [0xFF, ..] | [] => return self.wait(),
                    _ => self.give_up(),
                },
                Place::Scan => {
                    let found = rest.iter().position(|&b| b == 0xFF);
                    self.credit -= 2 + found.unwrap_or(rest.len()).cast_signed();
                    let Some(skip) = found else {
                        self.at = self.held.len();
                        return self.wait();
                    };
                    self.at += skip;
                    match rest[skip..] {
                        [_, 0x00 | 0xD0..=0xD7, ..] => self.at += 2,
                        [_, _, ..] => self.place = Place::Marker { scanned: true },
                        _ => return self.wait(),
                    }
                }
            }
        }
    }

    /// More is needed, unless there is too much already.
    fn wait(&mut self) -> Option<&[u8]> {
        if self.held.len() - self.start > self.most {
            self.give_up();
        }
        None
    }

    /// The picture is no picture: search again behind its start.
    fn give_up(&mut self) {
        self.damaged += 1;
        self.seen = self.seen.max(self.at);
        self.at = if self.credit > 0 {
            self.start + 2
        } else {
            self.seen.max(self.start + 2)
        };
        self.place = Place::Seek;
    }

    /// The picture ends before `end`, without a marker that says so.
    fn cut_before(&mut self, end: usize) -> &[u8] {
        self.endless += 1;
        self.ended.clear();
        self.ended.extend_from_slice(&self.held[self.start..end]);
        self.ended.extend_from_slice(&[0xFF, 0xD9]);
        (self.start, self.at, self.place) = (end, end, Place::Seek);
        &self.ended
    }

    /// The picture ends here.
    fn cut(&mut self) -> &[u8] {
        let end = self.at + 2;
        let picture = self.start..end;
        (self.start, self.at, self.place) = (end, end, Place::Seek);
        &self.held[picture]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::picture::MAX_JPEG_BYTES as MAX_PICTURE_BYTES;

    /// A small JPEG-like picture with every trap: a thumbnail with its own start and end, stuffed bytes, restarts, two scans.
    fn picture(tag: u8) -> Vec<u8> {
        let mut p = vec![0xFF, 0xD8];
        p.extend([0xFF, 0xE1, 0, 10, 0xFF, 0xD8, 0xFF, 0xDA, 0xFF, 0xD9, 7, 7]);
        p.extend([0xFF, 0xFF, 0xFE, 0, 3, tag]);
        p.extend([0xFF, 0xDA, 0, 3, 1, 9, tag, 0xFF, 0x00, 0xFF, 0xD3, 8]);
        p.extend([0xFF, 0xC4, 0, 2, 0xFF, 0xDA, 0, 2, 5, 0xFF, 0xFF, 0xD9]);
        p
    }

    fn all(cutter: &mut Cutter) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| cutter.next().map(<[u8]>::to_vec)).collect()
    }

    fn cut(bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, u64) {
        let mut cutter = Cutter::new(MAX_PICTURE_BYTES);
        let mut found = Vec::new();
        for piece in bytes.chunks(piece) {
            cutter.push(piece);
            found.extend(all(&mut cutter));
        }
        (found, cutter.damaged())
    }

    #[test]
    fn pictures_come_out_whole_however_the_stream_is_cut_and_whatever_lies_between() {
        let stream = [
            b"noise \xFF\xD8 noise".as_slice(),
            &picture(1),
            &picture(2),
            b"--boundary\r\nContent-Type: image/jpeg\r\n\r\n",
            &picture(3),
        ]
        .concat();
        for piece in 1..=stream.len() {
            let (found, damaged) = cut(&stream, piece);
            assert_eq!(found, [picture(1), picture(2), picture(3)], "{piece}");
            assert_eq!(damaged, 0, "{piece}");
        }
    }

    #[test]
    fn a_picture_cut_anywhere_costs_no_more_than_its_lengths_can_reach() {
        let (whole, tail) = (picture(1), picture(3).repeat(10_000));
        for end in 3..whole.len() {
            let stream = [&whole[..end], &picture(2), &tail].concat();
            let (found, damaged) = cut(&stream, 4096);
            // a start that is read as a length, and thumbnails that it leads to, reach 65,535 bytes ahead each
            let good = found.iter().filter(|p| **p == picture(3)).count();
            assert!(good > 1000, "cut after {end}: {good}");
            assert_eq!(found.last(), Some(&picture(3)), "cut after {end}");
            // counted here, or given out as a picture of two halves that the decoder refuses
            let sewn = |p: &Vec<u8>| (1..=3).all(|tag| *p != picture(tag));
            assert!(
                damaged >= 1 || found.iter().any(sewn) || found.len() == 10_002,
                "cut after {end} is counted"
            );
        }
    }

    #[test]
    fn no_garbage_makes_it_panic_or_lose_what_comes_after() {
        let mut seed = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for round in 0..100 {
            let length = random() as usize % 4000;
            // many of the bytes are those that mean something
            let mut stream: Vec<u8> = (0..length)
                .map(|_| match random() % 4 {
                    0 => 0xFF,
                    1 => [0xD8, 0xD9, 0xDA, 0x00, 0xC4][random() as usize % 5],
                    _ => random() as u8,
                })
                .collect();
            // lengths in the noise, and in thumbnails that they lead to, reach 65,535 bytes ahead each
            let good = picture(9).repeat(10_000);
            stream.extend(&good);
            let (found, _) = cut(&stream, 4096);
            assert!(found.last() == Some(&picture(9)), "round {round}");
            assert!(found.iter().filter(|p| **p == picture(9)).count() > 1000);
        }
    }

    #[test]
    fn every_flipped_bit_costs_at_most_its_own_picture_and_the_next() {
        let (a, b) = (picture(1), [picture(2), picture(3), picture(4)].concat());
        for bit in 0..a.len() * 8 {
            let mut damaged = a.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut cutter = Cutter::new(MAX_PICTURE_BYTES);
            cutter.push(&damaged);
            // a picture of a camera is longer than what a wrong length can reach in this one
            for _ in 0..3000 {
                cutter.push(&b);
                while cutter.next().is_some() {}
            }
            cutter.push(&picture(5));
            assert_eq!(cutter.next(), Some(picture(5).as_slice()), "bit {bit}");
        }
    }

    #[test]
    fn an_interruption_forgets_what_was_begun_and_counts_it() {
        let mut cutter = Cutter::new(MAX_PICTURE_BYTES);
        cutter.push(&picture(1)[..20]);
        assert_eq!(cutter.next(), None);
        cutter.interrupt();
        cutter.push(&picture(2));
        assert_eq!(cutter.next(), Some(picture(2).as_slice()));
        assert_eq!(cutter.damaged(), 1);
    }

    #[test]
    fn pictures_without_end_markers_are_handed_out_with_one_and_counted() {
        let bare = |tag| {
            let mut p = picture(tag);
            p.truncate(p.len() - 3); // a fill byte belongs to the end marker
            p
        };
        let stream = [bare(1), bare(2), picture(3), bare(4)].concat();
        let ended = |tag| [bare(tag), vec![0xFF, 0xD9]].concat();
        for piece in 1..stream.len() {
            let mut cutter = Cutter::new(MAX_PICTURE_BYTES);
            let mut found = Vec::new();
            for piece in stream.chunks(piece) {
                cutter.push(piece);
                found.extend(all(&mut cutter));
            }
            found.extend(cutter.last().map(<[u8]>::to_vec));
            assert_eq!(found, [ended(1), ended(2), picture(3), ended(4)], "{piece}");
            assert_eq!((cutter.endless(), cutter.damaged()), (3, 0));
            assert_eq!(cutter.last(), None, "once");
        }
    }

    #[test]
    fn the_work_is_linear_in_the_bytes_whatever_they_are() {
        // segments of nothing, each with a start in it, and one long scan behind them that ends
        // nowhere
        let starts = b"\xFF\xD8\xFF\xE0\x00\x02".repeat(1 << 17);
        let chained = b"\xFF\xE1\x00\x05\xFF\xD8\xFF".repeat(1 << 17);
        let mut scan = b"\xFF\xDA\x00\x02".to_vec();
        scan.extend(vec![7; 8 << 20]);
        let bad = b"\xFF\x01\x00\x00";
        for head in [starts, [b"\xFF\xD8".as_slice(), &chained].concat()] {
            let mut cutter = Cutter::new(MAX_PICTURE_BYTES);
            let mut received = 0;
            for _ in 0..2 {
                for part in [&head, &scan, &bad.to_vec()] {
                    for piece in part.chunks(1 << 17) {
                        cutter.push(piece);
                        received += piece.len();
                        while cutter.next().is_some() {}
                    }
                }
            }
            // all that was ever earned less what is left: what was looked at
            let earned = (CREDIT * received)
                .min(CREDIT * MAX_PICTURE_BYTES)
                .cast_signed();
            let looked = earned - cutter.credit;
            let most = ((CREDIT + 1) * received + MAX_PICTURE_BYTES).cast_signed();
            assert!(looked <= most, "{looked} of {received}");
            // and it still sees what comes then
            cutter.push(&picture(1).repeat(3));
            let found = all(&mut cutter);
            assert_eq!(found.last(), Some(&picture(1)));
        }
    }

    #[test]
    fn a_picture_without_end_is_given_up() {
        let mut cutter = Cutter::new(MAX_PICTURE_BYTES);
        cutter.push(&[0xFF, 0xD8, 0xFF, 0xDA, 0, 2]);
        let zeros = vec![0; 1 << 20];
        for _ in 0..=MAX_PICTURE_BYTES >> 20 {
            cutter.push(&zeros);
            assert_eq!(cutter.next(), None);
        }
        assert_eq!(cutter.damaged(), 1);
        assert_eq!(cutter.next(), None);
        assert!(cutter.held.len() - cutter.start < 8, "the bytes are let go");
    }
}
