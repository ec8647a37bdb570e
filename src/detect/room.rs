//! Who finds room in a report: no prompt takes that of another.
//!
//! What is offered has a rank: the how manieth it is of its prompt, best first. Of each prompt the
//! best [`MAX_PER_PROMPT`] are kept. Where all of these are more than [`MAX_DETECTIONS`], of each
//! prompt the best *k* are, with the greatest *k* that leaves no more; so what is kept of a prompt
//! depends on the others by that one number only, and a prompt that has no more than *k* loses
//! nothing. Where more prompts than there is room for have found something, the best first ones stay.
//!
//! *k* is found while offers come: it only falls, because what is kept of the ranks below it only
//! grows. So the order of offers does not matter, and the buffer is bounded.

use crate::scene::{MAX_DETECTIONS, MAX_PER_PROMPT};

/// How many are kept before it is cut: twice as many as stay, so that cutting is rare.
const ROOM: usize = 2 * MAX_DETECTIONS;

/// What was offered so far and has room; less is better.
#[derive(Debug)]
pub(crate) struct Room<T> {
    kept: Vec<(T, u32)>,
    /// How many of each rank are kept.
    ranks: Vec<usize>,
    /// Ranks from this one on have no room: the *k* above.
    level: usize,
    offered: u32,
}

impl<T> Default for Room<T> {
    fn default() -> Self {
        Self {
            // memory that is not written is not used
            kept: Vec::with_capacity(ROOM),
            ranks: vec![0; MAX_PER_PROMPT],
            level: MAX_PER_PROMPT,
            offered: 0,
        }
    }
}

impl<T: Copy + Ord> Room<T> {
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.ranks.fill(0);
        (self.level, self.offered) = (MAX_PER_PROMPT, 0);
    }

    /// Offers the one of a prompt that has so many better ones before it.
    pub(crate) fn offer(&mut self, rank: usize, item: T) {
        self.offered = self.offered.saturating_add(1);
        if self.kept.len() == ROOM {
            self.cut();
        }
        if rank < self.level {
            self.ranks[rank] += 1;
            self.kept.push((item, rank as u32));
        }
    }

    /// Puts what is kept in order, and says how many found no room.
    pub(crate) fn settle(&mut self) -> u32 {
        self.cut();
        self.kept.sort_unstable_by_key(|(item, _)| *item);
        self.offered - self.kept.len() as u32
    }

    /// What is kept.
    pub(crate) fn kept(&self) -> impl Iterator<Item = T> {
        self.kept.iter().map(|(item, _)| *item)
    }

    fn cut(&mut self) {
        if self.kept.len() <= MAX_DETECTIONS {
            return;
        }
        let mut sum = 0;
        let fit = self.ranks[..self.level].iter().take_while(|&&count| {
            sum += count;
            sum <= MAX_DETECTIONS
        });
        let level = fit.count().max(1);
        self.level = level;
        self.ranks[level..].fill(0);
        self.kept.retain(|&(_, rank)| (rank as usize) < level);
        if self.kept.len() > MAX_DETECTIONS {
            // more first ones than room: no rank is left to go by
            let better = |(a, _): &(T, u32), (b, _): &(T, u32)| a.cmp(b);
            self.kept.select_nth_unstable_by(MAX_DETECTIONS, better);
            self.kept.truncate(MAX_DETECTIONS);
            self.ranks[0] = MAX_DETECTIONS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offers so many of each prompt, in an order of prompts; what is kept, as (order, prompt), and
    /// how many found no room. The better ones of a prompt come first, with numbers that mix prompts.
    fn kept(counts: &[usize], order: &[usize]) -> (Vec<(usize, usize)>, u32) {
        let mut room = Room::default();
        for &prompt in order {
            for rank in 0..counts[prompt] {
                room.offer(rank, (rank * 7 + prompt % 5, prompt));
            }
        }
        let dropped = room.settle();
        (room.kept().collect(), dropped)
    }

    fn of(kept: &[(usize, usize)], prompt: usize) -> usize {
        kept.iter().filter(|(_, p)| *p == prompt).count()
    }

    #[test]
    fn a_prompt_keeps_its_best_and_others_lose_nothing_by_it() {
        let (all, dropped) = kept(&[1000, 3], &[0, 1]);
        assert_eq!((of(&all, 0), of(&all, 1)), (MAX_PER_PROMPT, 3));
        assert_eq!(dropped, 700);
        assert!(all.is_sorted());
    }

    #[test]
    fn where_all_are_too_many_each_keeps_as_many_of_its_best() {
        // 40 floods of 300, and 40 prompts with a few
        let counts: Vec<usize> = (0..80).map(|p| if p < 40 { 300 } else { p - 40 }).collect();
        let few: usize = (0..40).sum();
        let k = (1..).find(|k| 40 * k + few > MAX_DETECTIONS).expect("one") - 1;
        let forwards: Vec<usize> = (0..80).collect();
        let backwards: Vec<usize> = forwards.iter().rev().copied().collect();
        let (all, dropped) = kept(&counts, &forwards);
        assert_eq!(kept(&counts, &backwards), (all.clone(), dropped));
        for (prompt, &count) in counts.iter().enumerate() {
            assert_eq!(of(&all, prompt), count.min(k), "{prompt}");
            let mut own = all.iter().filter(|(_, p)| *p == prompt);
            assert!(own.all(|(order, p)| order - p % 5 < 7 * k));
        }
        assert_eq!(dropped as usize, 40 * (300 - k));
    }

    #[test]
    fn where_more_prompts_found_something_than_there_is_room_for_the_best_stay() {
        let counts = vec![2; 20_000];
        let mut order: Vec<usize> = (0..20_000).collect();
        let (all, dropped) = kept(&counts, &order);
        assert_eq!(all.len(), MAX_DETECTIONS);
        assert_eq!(dropped as usize, 40_000 - MAX_DETECTIONS);
        // those whose number is least: the first ones of every fifth prompt
        let expected: Vec<_> = (0..MAX_DETECTIONS).map(|i| (0, 5 * i)).collect();
        assert_eq!(all[..4000], expected[..4000]);
        assert!(
            all[4000..]
                .iter()
                .all(|(order, p)| (*order, p % 5) == (1, 1))
        );
        order.reverse();
        assert_eq!(kept(&counts, &order), (all, dropped));
    }
}
