//! What a track is called: its last few names, each with a score that is smoothed over time.

/// How many names of one thing count, and how many a track remembers: the best ones.
pub const NAMES: usize = 8;

/// A name and how surely it is the right one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Name {
    pub(super) class: u32,
    /// The prompt of the class that said so last.
    pub(super) prompt: u32,
    /// Smoothed, `0..=1`.
    pub(super) score: f32,
    /// Whether this frame has it.
    pub(super) seen: bool,
}

/// A track's names.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    list: heapless::Vec<Name, NAMES>,
}

impl Names {
    /// The one with the greatest smoothed score.
    pub(super) fn best(&self) -> Option<Name> {
        let names = self.list.iter().copied();
        names.reduce(|best, name| if name.score > best.score { name } else { best })
    }

    pub(super) fn of(&self, class: u32) -> Option<Name> {
        self.list.iter().copied().find(|name| name.class == class)
    }

    pub(super) fn has(&self, class: u32) -> bool {
        self.list.iter().any(|name| name.class == class)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// A new frame: no name is seen yet.
    pub(super) fn begin(&mut self) {
        self.list.iter_mut().for_each(|name| name.seen = false);
    }

    /// This frame says so with this score, of which `share` counts; a name that is new began at `start`.
    pub(super) fn see(&mut self, class: u32, prompt: u32, score: f32, start: f32, share: f32) {
        // so written, a score that stays the same stays the same to the bit
        let toward = |from: f32| from + share * (score - from);
        if let Some(name) = self.list.iter_mut().find(|name| name.class == class) {
            // of two prompts of a group the better one counts
            if !name.seen {
                (name.score, name.prompt, name.seen) = (toward(name.score), prompt, true);
            }
            return;
        }
        let new = Name {
            class,
            prompt,
            score: toward(start),
            seen: true,
        };
        if let Err(new) = self.list.push(new) {
            let least = self
                .list
                .iter_mut()
                .min_by(|a, b| a.score.total_cmp(&b.score));
            if let Some(least) = least.filter(|least| least.score < new.score) {
                *least = new;
            }
        }
    }

    /// What this frame did not say scored below its threshold: it goes towards `doubt` of its prompt.
    pub(super) fn end(&mut self, share: f32, doubt: impl Fn(u32) -> f32) {
        for name in self.list.iter_mut().filter(|name| !name.seen) {
            let doubt = doubt(name.prompt).min(name.score);
            name.score += share * (doubt - name.score);
        }
    }

    /// Prompts have other indices; those without one are forgotten.
    pub(super) fn rename(
        &mut self,
        new: &mut impl FnMut(u32) -> Option<u32>,
        class: impl Fn(u32) -> u32,
    ) {
        self.list.retain_mut(|name| match new(name.prompt) {
            Some(prompt) => {
                (name.prompt, name.class) = (prompt, class(prompt));
                true
            }
            None => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(names: &mut Names, seen: &[(u32, f32)], share: f32) -> u32 {
        names.begin();
        for &(class, score) in seen {
            names.see(class, class, score, 0.15, share);
        }
        names.end(share, |_| 0.15);
        names.best().expect("a name").class
    }

    #[test]
    fn one_frame_with_another_name_does_not_change_the_name_and_many_do() {
        let mut names = Names::default();
        let mut hits = 0;
        let mut next = |seen: &[(u32, f32)]| {
            hits += 1;
            frame(&mut names, seen, (1.0 / hits as f32).max(0.1))
        };
        for _ in 0..10 {
            assert_eq!(next(&[(7, 0.5)]), 7);
        }
        assert_eq!(next(&[(8, 0.6)]), 7);
        assert_eq!(next(&[(7, 0.5)]), 7);
        let frames = (0..30).take_while(|_| next(&[(8, 0.6)]) == 7).count();
        assert!((2..10).contains(&frames), "{frames}");
    }

    #[test]
    fn a_score_that_stays_is_reported_to_the_bit() {
        let mut names = Names::default();
        names.see(1, 1, 0.871_234_5, 0.871_234_5, 1.0);
        for i in 2..50 {
            frame(&mut names, &[(1, 0.871_234_5)], 1.0 / i as f32);
        }
        assert_eq!(names.best().expect("a name").score, 0.871_234_5);
    }

    #[test]
    fn of_more_names_than_there_is_room_the_best_are_kept() {
        let mut names = Names::default();
        for class in 0..13 {
            names.see(class, class, 0.05 * class as f32, 0.05 * class as f32, 1.0);
        }
        assert_eq!(names.best().expect("a name").class, 12);
        assert!(names.has(5) && !names.has(4));
        let mut new = |prompt| (prompt == 12).then_some(3);
        names.rename(&mut new, |prompt| prompt + 100);
        let name = names.best().expect("a name");
        assert_eq!((name.class, name.prompt, names.list.len()), (103, 3, 1));
    }
}
