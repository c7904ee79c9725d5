//! A map from numbers that were given out in order.
//!
//! Owns the storage of tasks, blocks and work. Most numbers near each other are there or gone together,
//! so their entries share a page, and a page goes when its last entry does: what is gone costs
//! nothing, however old the oldest entry is. Iteration is in the order of the numbers.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
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
    pages: BTreeMap<u64, Page<T>>,
    /// The page that became empty last, for the next one.
    spare: Option<Page<T>>,
    len: usize,
    keys: PhantomData<K>,
}

/// The entries of consecutive numbers; a bit tells which are there.
#[derive(Clone, Debug)]
struct Page<T> {
    present: u32,
    entries: Box<[Option<T>; PAGE]>,
}

impl<K: Number, T> Table<K, T> {
    pub(crate) const fn new() -> Self {
        Self { pages: BTreeMap::new(), spare: None, len: 0, keys: PhantomData }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn get(&self, key: &K) -> Option<&T> {
        let (page, slot) = split(key.number());
        self.pages.get(&page)?.entries[slot].as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut T> {
        let (page, slot) = split(key.number());
        self.pages.get_mut(&page)?.entries[slot].as_mut()
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn insert(&mut self, key: K, value: T) -> Option<T> {
        let (number, slot) = split(key.number());
        let page =
            self.pages.entry(number).or_insert_with(|| self.spare.take().unwrap_or_else(Page::new));
        page.present |= 1 << slot;
        let old = page.entries[slot].replace(value);
        self.len += usize::from(old.is_none());
        old
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<T> {
        let (number, slot) = split(key.number());
        let page = self.pages.get_mut(&number)?;
        let value = page.entries[slot].take()?;
        page.present &= !(1 << slot);
        if page.present == 0 {
            self.spare = self.pages.remove(&number);
        }
        self.len -= 1;
        Some(value)
    }

    /// The entry with the lowest number.
    pub(crate) fn first(&self) -> Option<(K, &T)> {
        self.iter().next()
    }

    pub(crate) fn last(&self) -> Option<(K, &T)> {
        self.iter().next_back()
    }

    /// The entries in the order of their numbers.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &T)> {
        let entries = self.pages.iter().flat_map(|(page, Page { entries, .. })| {
            entries.iter().enumerate().map(|(slot, entry)| (join(*page, slot), entry))
        });
        entries.filter_map(|(number, entry)| Some((K::of(number), entry.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        let entries = self.pages.iter_mut().flat_map(|(page, Page { entries, .. })| {
            entries.iter_mut().enumerate().map(|(slot, entry)| (join(*page, slot), entry))
        });
        entries.filter_map(|(number, entry)| Some((K::of(number), entry.as_mut()?)))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.pages.values().flat_map(|page| page.entries.iter()).flatten()
    }
}

impl<K: Number, T> Index<&K> for Table<K, T> {
    type Output = T;

    fn index(&self, key: &K) -> &T {
        self.get(key).unwrap_or_else(|| panic!("because the caller knows that {key} is there"))
    }
}

impl<T> Page<T> {
    fn new() -> Self {
        Self { present: 0, entries: Box::new(core::array::from_fn(|_| None)) }
    }
}

/// The page of a number, and its place there.
#[expect(clippy::cast_possible_truncation, reason = "it is below the entries of a page")]
const fn split(number: u64) -> (u64, usize) {
    (number / PAGE as u64, (number % PAGE as u64) as usize)
}

const fn join(page: u64, slot: usize) -> u64 {
    page * PAGE as u64 + slot as u64
}

/// Entries of a page. More would be faster while all are there, and cost more when most are gone.
const PAGE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::BlockId;
    use alloc::vec::Vec;
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
        assert_eq!((table.len(), table.pages.len()), (1, 1));
    }
}
