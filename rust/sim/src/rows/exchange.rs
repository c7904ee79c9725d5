//! Which rows an exchange deals to which partition, and what numbers they have behind it.
//!
//! Neighbouring rows are dealt together, to partitions in a pattern that repeats: some get more than
//! others, some nothing. Behind the exchange the rows are numbered anew, those of the first partition
//! first.

use crate::random::Random;
use crate::rows::{Content, Stretch};

/// How the rows of one exchange are dealt.
#[derive(Clone, Debug)]
pub(super) struct Deal {
    /// Neighbours that stay together.
    chunk: u64,
    /// The partitions of the first chunks, and again of those after them.
    pattern: Vec<u32>,
    /// The first number behind the exchange of each partition's rows.
    offsets: Vec<u64>,
}

impl Deal {
    /// The deal of operator `op`, whose rows have numbers below `numbers`.
    pub(super) fn new(op: u64, partitions: u32, numbers: u64) -> Self {
        let mut random = Random::of(&[op, u64::from(partitions), PATTERN]);
        let last = u64::from(partitions.saturating_sub(1));
        let length = random.between(1, 2 * u64::from(partitions));
        let draw = |_| u32::try_from(random.between(0, last)).unwrap_or(0);
        let pattern: Vec<u32> = (0..length).map(draw).collect();
        let chunk = numbers.div_ceil(CHUNKS_MAX).max(1) * random.pick(&[1, 1, 3, 10]);
        let mut deal = Self { chunk, pattern, offsets: Vec::new() };
        let mut offset = 0;
        for partition in 0..partitions {
            deal.offsets.push(offset);
            offset += deal.before(partition, numbers);
        }
        deal
    }

    /// The partition of a row.
    pub(super) fn partition(&self, row: u64) -> u32 {
        self.at(row / self.chunk)
    }

    /// The rows as a task of the map side puts them out.
    pub(super) fn dealt(&self, content: &Content) -> Content {
        let mut dealt = Content::default();
        for partition in (0..).take(self.offsets.len()) {
            let chunks = self.chunks(content);
            chunks.filter(|c| self.partition(c.first) == partition).for_each(|c| dealt.push(c));
        }
        dealt
    }

    /// The rows as they are numbered behind the exchange.
    pub(super) fn gathered(&self, content: &Content) -> Content {
        let mut gathered = Content::default();
        for Stretch { first, end } in self.chunks(content) {
            let partition = self.partition(first);
            let offset = self.offsets[usize::try_from(partition).unwrap_or(0)];
            let number = offset + self.before(partition, first);
            gathered.push(Stretch { first: number, end: number + end - first });
        }
        gathered
    }

    /// The positions in what a task of the map side puts out at which a partition ends.
    pub(super) fn cuts(&self, dealt: &Content) -> Vec<u64> {
        let mut cuts = Vec::new();
        let (mut position, mut last) = (0, None);
        for Stretch { first, end } in self.chunks(dealt) {
            let partition = self.partition(first);
            if last.is_some_and(|last| last != partition) {
                cuts.push(position);
            }
            (position, last) = (position + end - first, Some(partition));
        }
        cuts
    }

    /// How many rows below `row` are of a partition.
    fn before(&self, partition: u32, row: u64) -> u64 {
        let (chunk, rest) = (row / self.chunk, row % self.chunk);
        let (rounds, left) = (chunk / self.length(), chunk % self.length());
        let count = |chunks: u64| (0..chunks).filter(|at| self.at(*at) == partition).count() as u64;
        let chunks = rounds * count(self.length()) + count(left);
        chunks * self.chunk + if self.at(chunk) == partition { rest } else { 0 }
    }

    fn at(&self, chunk: u64) -> u32 {
        self.pattern[usize::try_from(chunk % self.length()).unwrap_or(0)]
    }

    fn length(&self) -> u64 {
        self.pattern.len() as u64
    }

    /// The stretches, cut where chunks end.
    fn chunks<'a>(&'a self, content: &'a Content) -> impl Iterator<Item = Stretch> + 'a {
        content.stretches().iter().flat_map(move |stretch| {
            let chunks = stretch.first / self.chunk..stretch.end.div_ceil(self.chunk);
            chunks.map(move |chunk| Stretch {
                first: stretch.first.max(chunk * self.chunk),
                end: stretch.end.min((chunk + 1) * self.chunk),
            })
        })
    }
}

/// Keeps these draws apart from all others.
const PATTERN: u64 = 16;
/// What is dealt in more chunks takes longer and shows no more.
const CHUNKS_MAX: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_one_partition_and_one_number_behind() {
        for (op, partitions, numbers) in [(1, 1, 10), (2, 3, 100), (3, 5, 7), (4, 8, 5_000)] {
            let deal = Deal::new(op, partitions, numbers);
            let dealt = deal.dealt(&Content::of(0, numbers));
            assert_eq!(dealt.rows(), numbers);
            assert_eq!(deal.gathered(&dealt), Content::of(0, numbers), "in the order of the deal");
            let ends = deal.cuts(&dealt);
            assert!(ends.len() < partitions as usize, "{ends:?}");
            let whole = deal.gathered(&Content::of(0, numbers));
            assert_eq!(whole.part(0, 3), {
                let mut single = Content::default();
                (0..3.min(numbers)).for_each(|row| {
                    single.append(&deal.gathered(&Content::of(row, row + 1)));
                });
                single
            });
        }
    }
}
