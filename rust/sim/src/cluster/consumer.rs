//! The consumers at their work.

use std::collections::{BTreeSet, VecDeque};

use millstream_core::{BlockId, Event, Span, Time};

use crate::cluster::{Cluster, Happening};
use crate::random::scaled;
use crate::rows::Content;

/// The consumer at work.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    waiting: VecDeque<Item>,
    working_on: Option<BlockId>,
    pub(super) blocks_taken: u64,
    /// When its last event reaches the driver.
    reported: Time,
    is_gone: bool,
    /// Blocks that it has, or had, and that were not dropped: it is the one to find them gone.
    pub(super) given: BTreeSet<BlockId>,
}

/// What comes next for the consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Block(BlockId),
    /// Rows of a block that is gone, until others have come in their place.
    Lost {
        block: BlockId,
        rows: u64,
    },
}

impl Cluster<'_> {
    /// Gives a block to a consumer, in its turn or in the place of one that is gone.
    pub(super) fn give(&mut self, at: usize, block: BlockId, instead_of: Option<BlockId>) {
        for consumer in &mut self.consumers {
            consumer.given.remove(&block);
        }
        self.consumers[at].given.insert(block);
        if self.consumers[at].is_gone {
            return;
        }
        match instead_of {
            None => self.consumers[at].waiting.push_back(Item::Block(block)),
            Some(lost) => self.put_instead(at, block, lost),
        }
        self.consume(at);
    }

    fn put_instead(&mut self, at: usize, block: BlockId, lost: BlockId) {
        let rows = self.lost.get(&lost).map_or(0, |(_, rows)| rows.rows());
        let there = self.blocks.get(&block).map(|stored| &stored.content);
        let given = self.lost.get(&block).map(|(_, rows)| rows).or(there);
        let given = given.map_or(0, Content::rows);
        let is_place = |item: &Item| match item {
            Item::Block(id) => *id == lost,
            Item::Lost { block, .. } => *block == lost,
        };
        let waiting = &mut self.consumers[at].waiting;
        let Some(place) = waiting.iter().position(is_place) else { return };
        let left = match waiting[place] {
            Item::Block(_) => rows - given,
            Item::Lost { rows, .. } => rows - given,
        };
        waiting[place] = Item::Lost { block: lost, rows: left };
        if left == 0 {
            waiting.remove(place);
        }
        waiting.insert(place, Item::Block(block));
    }

    pub(super) fn consume(&mut self, at: usize) {
        if self.bar.is_some_and(|bar| self.blocks_taken() >= bar) {
            return;
        }
        let consumer = &mut self.consumers[at];
        if consumer.working_on.is_some() {
            return;
        }
        let Some(Item::Block(block)) = consumer.waiting.front().copied() else { return };
        consumer.waiting.pop_front();
        if let Some(rows) = self.lost.get(&block).map(|(_, rows)| rows.rows()) {
            return self.find_gone(at, block, rows);
        }
        consumer.working_on = Some(block);
        let model = &self.scenario.consumer;
        let rest = model.rest.filter(|(after, _)| *after == consumer.blocks_taken);
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let slowness = self.scenario.faults.consumer_slowness(number);
        let block = Span(scaled(model.block.0, slowness, 1_000));
        let span = block + rest.map_or(Span::ZERO, |(_, span)| span);
        let due = self.now.after(span);
        self.schedule(due, Happening::Consumed(at));
    }

    /// Waits for as many rows in the place of a block that is gone.
    fn find_gone(&mut self, at: usize, block: BlockId, rows: u64) {
        self.tell(at, Event::BlockLost { block });
        if rows > 0 {
            self.consumers[at].waiting.push_front(Item::Lost { block, rows });
        } else {
            self.consume(at);
        }
    }

    pub(super) fn consumed(&mut self, at: usize) {
        let Some(block) = self.consumers[at].working_on.take() else { return };
        self.consumers[at].blocks_taken += 1;
        self.tell(at, Event::OutputTaken { block });
        if self.scenario.consumer.blocks_max == Some(self.blocks_taken()) {
            self.befall(self.now, Event::StopRequested);
        }
        let (number, taken) =
            (u32::try_from(at).unwrap_or(u32::MAX), self.consumers[at].blocks_taken);
        if self.scenario.faults.consumers_gone.contains(&(number, taken)) {
            return self.go(at, number);
        }
        self.consume(at);
    }

    /// A consumer goes, with all that it has. What it told before comes first.
    fn go(&mut self, at: usize, consumer: u32) {
        let gone = &mut self.consumers[at];
        gone.is_gone = true;
        gone.waiting.clear();
        let told = gone.reported.max(self.now);
        self.arrive(told, Event::ConsumerGone { consumer });
    }

    fn tell(&mut self, at: usize, event: Event) {
        let told = self.announce(event);
        let consumer = &mut self.consumers[at];
        consumer.reported = consumer.reported.max(told);
    }
}
