//! The consumer at its work.

use std::collections::VecDeque;

use millstream_core::{BlockId, Event, Span};

use crate::cluster::{Cluster, Happening};

/// The consumer at work.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    pub(super) waiting: VecDeque<BlockId>,
    pub(super) working_on: Option<BlockId>,
    pub(super) blocks_taken: u64,
}

impl Cluster<'_> {
    pub(super) fn consume(&mut self) {
        if self.consumer.working_on.is_some() {
            return;
        }
        self.consumer.working_on = self.consumer.waiting.pop_front();
        if self.consumer.working_on.is_some() {
            let model = &self.scenario.consumer;
            let rest = model.rest.filter(|(after, _)| *after == self.consumer.blocks_taken);
            let span = model.block + rest.map_or(Span::ZERO, |(_, span)| span);
            let at = self.now.after(span);
            self.schedule(at, Happening::Consumed);
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
