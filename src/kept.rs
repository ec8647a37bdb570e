//! A list that keeps the memory of its items when it is cleared, for what is made anew for every frame.
//!
//! A `Vec` of masks frees all of them when it is cleared, and the next frame allocates as many again. This one only forgets how many
//! there are: [`Kept::next`] hands out the place of an item that was there before, to be written over. So it settles at what the
//! largest frame needed.

use std::ops::{Deref, DerefMut};

/// A list whose items outlive it.
#[derive(Debug)]
pub struct Kept<T> {
    /// Those that count, and behind them those that wait to be written over.
    items: Vec<T>,
    count: usize,
}

impl<T> Kept<T> {
    /// An empty list without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            items: Vec::new(),
            count: 0,
        }
    }

    /// Forgets all items and keeps their memory.
    pub const fn clear(&mut self) {
        self.count = 0;
    }

    /// Adds an item, in the place of one that waits.
    pub fn push(&mut self, item: T) {
        match self.items.get_mut(self.count) {
            Some(place) => *place = item,
            None => self.items.push(item),
        }
        self.count += 1;
    }

    /// Forgets all items but the first so many, and keeps their memory.
    pub fn truncate(&mut self, count: usize) {
        self.count = self.count.min(count);
    }

    /// Adds an item and lends it: it is as an earlier one left it, or new.
    #[expect(clippy::should_implement_trait, reason = "no iterator: it never ends")]
    pub fn next(&mut self) -> &mut T
    where
        T: Default,
    {
        if self.count == self.items.len() {
            self.items.push(T::default());
        }
        self.count += 1;
        &mut self.items[self.count - 1]
    }

    /// Keeps some of the items, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let mut kept = 0;
        for i in 0..self.count {
            if keep(&self.items[i]) {
                self.items.swap(kept, i);
                kept += 1;
            }
        }
        self.count = kept;
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Clone for Kept<T> {
    fn clone(&self) -> Self {
        self.iter().cloned().collect()
    }

    fn clone_from(&mut self, source: &Self) {
        let places = self.items.iter_mut().zip(source.iter());
        places.for_each(|(place, item)| place.clone_from(item));
        let new = source.iter().skip(self.items.len()).cloned();
        self.items.extend(new);
        self.count = source.count;
    }
}

impl<T: PartialEq> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T> Deref for Kept<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items[..self.count]
    }
}

impl<T> DerefMut for Kept<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[..self.count]
    }
}

impl<T> From<Vec<T>> for Kept<T> {
    fn from(items: Vec<T>) -> Self {
        Self {
            count: items.len(),
            items,
        }
    }
}

impl<T> From<Kept<T>> for Vec<T> {
    fn from(mut kept: Kept<T>) -> Self {
        kept.items.truncate(kept.count);
        kept.items
    }
}

impl<T> FromIterator<T> for Kept<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Vec::from_iter(items).into()
    }
}

impl<T> Extend<T> for Kept<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

impl<T> IntoIterator for Kept<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        Vec::from(self).into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Kept<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Kept<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cleared_is_written_over_in_its_own_memory() {
        let mut list = Kept::<Vec<u8>>::new();
        list.next().extend([1; 100]);
        list.push(vec![2; 100]);
        let places: Vec<*const u8> = list.iter().map(|item| item.as_ptr()).collect();
        list.clear();
        assert!(list.is_empty());
        for place in &places {
            let item = list.next();
            item.clear();
            item.extend([3; 90]);
            assert_eq!(item.as_ptr(), *place);
        }
        // likewise for a copy, which keeps what it has beyond the other's end
        let mut copy = list.clone();
        assert_eq!(copy, list);
        let places: Vec<*const u8> = copy.iter().map(|item| item.as_ptr()).collect();
        list.truncate(1);
        let item = list.next();
        item.clear();
        item.extend([5; 7]);
        copy.clone_from(&list);
        assert_eq!(copy, list);
        assert!(copy.iter().map(|item| item.as_ptr()).eq(places));
        list.clear();
        copy.clone_from(&list);
        assert_eq!(copy.len(), 0);
        assert_eq!(copy.items.len(), 2, "they wait");
    }

    #[test]
    fn what_is_kept_of_a_list_keeps_its_order() {
        let mut list: Kept<i32> = (0..9).collect();
        list.retain(|i| i % 3 != 1);
        assert_eq!(*list, [0, 2, 3, 5, 6, 8]);
        list.extend([10]);
        assert_eq!(Vec::from(list), [0, 2, 3, 5, 6, 8, 10]);
    }
}
