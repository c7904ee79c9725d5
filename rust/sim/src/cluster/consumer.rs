//! The consumer at its work.

use std::collections::{BTreeSet, VecDeque};

use millstream_core::{BlockId, Event, Span};

use crate::cluster::{Cluster, Happening};
use crate::rows::Content;

/// The consumer at work.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    waiting: VecDeque<Item>,
    working_on: Option<BlockId>,
    blocks_taken: u64,
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
    /// Gives a block to the consumer, in its turn or in the place of one that is gone.
    pub(super) fn give(&mut self, block: BlockId, instead_of: Option<BlockId>) {
        self.consumer.given.insert(block);
        match instead_of {
            None => self.consumer.waiting.push_back(Item::Block(block)),
            Some(lost) => self.put_instead(block, lost),
        }
        self.consume();
    }

    fn put_instead(&mut self, block: BlockId, lost: BlockId) {
        let rows = self.lost.get(&lost).map_or(0, |(_, rows)| rows.rows());
        let there = self.blocks.get(&block).map(|stored| &stored.content);
        let given = self.lost.get(&block).map(|(_, rows)| rows).or(there);
        let given = given.map_or(0, Content::rows);
        let is_place = |item: &Item| match item {
            Item::Block(id) => *id == lost,
            Item::Lost { block, .. } => *block == lost,
        };
        let Some(place) = self.consumer.waiting.iter().position(is_place) else { return };
        let left = match self.consumer.waiting[place] {
            Item::Block(_) => rows - given,
            Item::Lost { rows, .. } => rows - given,
        };
        self.consumer.waiting[place] = Item::Lost { block: lost, rows: left };
        if left == 0 {
            self.consumer.waiting.remove(place);
        }
        self.consumer.waiting.insert(place, Item::Block(block));
    }

    pub(super) fn consume(&mut self) {
        if self.consumer.working_on.is_some() {
            return;
        }
        let Some(Item::Block(block)) = self.consumer.waiting.front().copied() else { return };
        self.consumer.waiting.pop_front();
        if let Some(rows) = self.lost.get(&block).map(|(_, rows)| rows.rows()) {
            return self.find_gone(block, rows);
        }
        self.consumer.working_on = Some(block);
        let model = &self.scenario.consumer;
        let rest = model.rest.filter(|(after, _)| *after == self.consumer.blocks_taken);
        let span = model.block + rest.map_or(Span::ZERO, |(_, span)| span);
        let at = self.now.after(span);
        self.schedule(at, Happening::Consumed);
    }

    /// Waits for as many rows in the place of a block that is gone.
    fn find_gone(&mut self, block: BlockId, rows: u64) {
        self.announce(Event::BlockLost { block });
        if rows > 0 {
            self.consumer.waiting.push_front(Item::Lost { block, rows });
        } else {
            self.consume();
        }
    }

    pub(super) fn consumed(&mut self) {
        let Some(block) = self.consumer.working_on.take() else { return };
        self.consumer.blocks_taken += 1;
        self.announce(Event::OutputTaken { block });
        if self.scenario.consumer.blocks_max == Some(self.consumer.blocks_taken) {
            self.befall(self.now, Event::StopRequested);
        }
        self.consume();
    }
}
