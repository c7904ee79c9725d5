//! A map from numbers that were given out in order.
//!
//! Owns the storage of tasks, blocks and work. Most numbers near each other are there or gone together,
//! so their entries share a page, and neighbouring pages a chapter; a page goes with its last entry,
//! and a chapter with its last page: what is gone costs nothing, however old the oldest entry is.
//! Iteration is in the order of the numbers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Index;

/// What can be a key: a number.
pub(crate) trait Number: Copy + fmt::Display {
    fn number(self) -> u64;
    fn of(number: u64) -> Self;
}

impl Number for u64 {
    fn number(self) -> u64 {
        self
    }

    fn of(number: u64) -> Self {
        number
    }
}

/// A map from `K` to `T`.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, T> {
    /// In the order of their numbers.
    chapters: Vec<Chapter<T>>,
    /// The page that became empty last, for the next one.
    spare: Option<Page<T>>,
    len: usize,
    keys: PhantomData<K>,
}

/// Consecutive pages, each where it belongs.
#[derive(Clone, Debug)]
struct Chapter<T> {
    number: u64,
    /// How many pages there are.
    len: usize,
    pages: Box<[Option<Page<T>>; CHAPTER]>,
}

/// The entries of consecutive numbers.
#[derive(Clone, Debug)]
struct Page<T> {
    len: usize,
    entries: Box<[Option<T>; PAGE]>,
}

impl<K: Number, T> Table<K, T> {
    pub(crate) const fn new() -> Self {
        Self { chapters: Vec::new(), spare: None, len: 0, keys: PhantomData }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn get(&self, key: &K) -> Option<&T> {
        let (chapter, page, slot) = split(key.number());
        let chapter = &self.chapters[self.position(chapter).ok()?];
        chapter.pages[page].as_ref()?.entries[slot].as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut T> {
        let (chapter, page, slot) = split(key.number());
        let position = self.position(chapter).ok()?;
        self.chapters[position].pages[page].as_mut()?.entries[slot].as_mut()
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn insert(&mut self, key: K, value: T) -> Option<T> {
        let (number, page, slot) = split(key.number());
        let position = self.position(number).unwrap_or_else(|position| {
            self.chapters.insert(position, Chapter::new(number));
            position
        });
        let Chapter { len, pages, .. } = &mut self.chapters[position];
        let page = pages[page].get_or_insert_with(|| {
            *len += 1;
            self.spare.take().unwrap_or_else(Page::new)
        });
        let old = page.entries[slot].replace(value);
        let added = usize::from(old.is_none());
        page.len += added;
        self.len += added;
        old
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<T> {
        let (number, page, slot) = split(key.number());
        let position = self.position(number).ok()?;
        let chapter = &mut self.chapters[position];
        let found = chapter.pages[page].as_mut()?;
        let value = found.entries[slot].take()?;
        self.len -= 1;
        found.len -= 1;
        if found.len == 0 {
            self.spare = chapter.pages[page].take();
            chapter.len -= 1;
            if chapter.len == 0 {
                self.chapters.remove(position);
            }
        }
        Some(value)
    }

    /// Where the chapter of a number is, or would be. Mostly none is missing after the first.
    fn position(&self, number: u64) -> Result<usize, usize> {
        let first = self.chapters.first().map_or(number, |chapter| chapter.number);
        let guess = usize::try_from(number.wrapping_sub(first)).unwrap_or(usize::MAX);
        match self.chapters.get(guess) {
            Some(chapter) if chapter.number == number => Ok(guess),
            _ => self.chapters.binary_search_by_key(&number, |chapter| chapter.number),
        }
    }

    /// The entry with the lowest number.
    pub(crate) fn first(&self) -> Option<(K, &T)> {
        let chapter = self.chapters.first()?;
        let (page, there) = first_of(chapter.pages.as_slice())?;
        let (slot, entry) = first_of(there.entries.as_slice())?;
        Some((K::of(join(chapter.number, page, slot)), entry))
    }

    pub(crate) fn last(&self) -> Option<(K, &T)> {
        self.iter().next_back()
    }

    /// The entries in the order of their numbers.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &T)> {
        let pages = self.chapters.iter().flat_map(|chapter| {
            let pages = chapter.pages.iter().enumerate();
            pages.filter_map(|(page, there)| Some((chapter.number, page, there.as_ref()?)))
        });
        pages.flat_map(|(chapter, page, Page { entries, .. })| {
            let entries = entries.iter().enumerate();
            entries.filter_map(move |(slot, entry)| {
                Some((K::of(join(chapter, page, slot)), entry.as_ref()?))
            })
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        let pages = self.chapters.iter_mut().flat_map(|chapter| {
            let (number, pages) = (chapter.number, chapter.pages.iter_mut().enumerate());
            pages.filter_map(move |(page, there)| Some((number, page, there.as_mut()?)))
        });
        pages.flat_map(|(chapter, page, Page { entries, .. })| {
            let entries = entries.iter_mut().enumerate();
            entries.filter_map(move |(slot, entry)| {
                Some((K::of(join(chapter, page, slot)), entry.as_mut()?))
            })
        })
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, entry)| entry)
    }
}

impl<K: Number, T> Index<&K> for Table<K, T> {
    type Output = T;

    fn index(&self, key: &K) -> &T {
        self.get(key).unwrap_or_else(|| panic!("because the caller knows that {key} is there"))
    }
}

impl<T> Chapter<T> {
    fn new(number: u64) -> Self {
        Self { number, len: 0, pages: Box::new(core::array::from_fn(|_| None)) }
    }
}

impl<T> Page<T> {
    fn new() -> Self {
        Self { len: 0, entries: Box::new(core::array::from_fn(|_| None)) }
    }
}

fn first_of<T>(places: &[Option<T>]) -> Option<(usize, &T)> {
    places.iter().enumerate().find_map(|(place, there)| Some((place, there.as_ref()?)))
}

/// The chapter of a number, its page there, and its place on the page.
#[expect(clippy::cast_possible_truncation, reason = "they are below the lengths of the two")]
const fn split(number: u64) -> (u64, usize, usize) {
    let (page, slot) = (number / PAGE as u64, number % PAGE as u64);
    (page / CHAPTER as u64, (page % CHAPTER as u64) as usize, slot as usize)
}

const fn join(chapter: u64, page: usize, slot: usize) -> u64 {
    (chapter * CHAPTER as u64 + page as u64) * PAGE as u64 + slot as u64
}

/// Entries of a page. More would be faster while all are there, and cost more when most are gone.
const PAGE: usize = 16;
/// Pages of a chapter.
const CHAPTER: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::BlockId;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_table_is_a_map(
            changes in proptest::collection::vec((0u64..100, any::<bool>(), any::<bool>()), 0..300),
        ) {
            let (mut table, mut map) = (Table::new(), BTreeMap::new());
            for (value, (number, is_far, is_removal)) in changes.into_iter().enumerate() {
                let key = BlockId(if is_far { u64::MAX - number } else { number });
                if is_removal {
                    prop_assert_eq!(table.remove(&key), map.remove(&key));
                } else {
                    prop_assert_eq!(table.insert(key, value), map.insert(key, value));
                }
                prop_assert_eq!(table.get(&key), map.get(&key));
                prop_assert_eq!((table.len(), table.is_empty()), (map.len(), map.is_empty()));
            }
            let entries: Vec<_> = map.iter().map(|(key, value)| (*key, value)).collect();
            prop_assert_eq!(table.first(), entries.first().copied());
            prop_assert_eq!(table.iter().collect::<Vec<_>>(), entries);
            prop_assert!(table.values().eq(map.values()));
        }
    }

    #[test]
    fn what_is_gone_costs_nothing() {
        let mut table = Table::new();
        for number in 0..10_000 {
            table.insert(BlockId(number), number);
            if number > 0 {
                table.remove(&BlockId(number));
            }
        }
        assert_eq!((table.len(), table.chapters.len(), table.chapters[0].len), (1, 1, 1));
    }
}
