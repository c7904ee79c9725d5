//! How blocks move on without a task, as the kinds of operators say, and to the consumer.
//!
//! A block that passes keeps its producer and its place in what that puts out, from which it is made
//! again if it is lost; it gets a new place in the queue that it comes to. Owns when an operator has
//! ended, by itself or since a limit further down has all its rows.

use alloc::vec::Vec;

use crate::operator::{Goal, Part, Starved, Task};
use crate::protocol::{Action, OutputPlace};
use crate::queue::{Position, Queued, Spot};
use crate::scheduler::Scheduler;
use crate::state::Place;
use crate::units::{BlockId, Epoch, OpId, TaskId};

impl Scheduler {
    /// From the sources down: lets blocks pass, and marks the operators that are through.
    pub(super) fn advance_operators(&mut self) {
        for op in self.state.op_ids() {
            if self.state.op(op).is_done {
                continue;
            }
            self.state.meaning(op).advance(self, op);
            self.end_if_through(op);
        }
    }

    fn end_if_through(&mut self, op: OpId) {
        if !self.state.op(op).is_done && self.state.has_ended(op) {
            self.state.op_mut(op).is_done = true;
            self.stop_actors(op);
            self.state.queue_after_mut(op).close();
        }
    }

    pub(crate) fn emit_output(&mut self) {
        if self.state.split.is_some() {
            return self.emit_to_several();
        }
        while let Some(queued) = self.state.output.pop() {
            self.emit(queued, 0, OutputPlace::default());
        }
    }

    /// Gives a block to a consumer.
    pub(crate) fn emit(&mut self, queued: Queued, consumer: u32, at: OutputPlace) {
        self.state.output_blocks += 1;
        self.state.output_rows += queued.rows.0;
        self.put_in_hand(&queued, None, consumer, at);
    }

    /// Puts a block into a consumer's hand, in its turn or in the place of a lost one.
    pub(crate) fn put_in_hand(
        &mut self,
        queued: &Queued,
        instead_of: Option<BlockId>,
        consumer: u32,
        at: OutputPlace,
    ) {
        let block = queued.block;
        self.set_place(block, Place::Emitted);
        self.state.emitted_bytes += queued.bytes;
        self.state.emitted_blocks += 1;
        self.actions.push_back(Action::EmitBlock { block, instead_of, consumer, at });
    }

    /// Commits the epochs that are over, as many as one turn may.
    pub(super) fn commit_epochs(&mut self) {
        while let Some(epoch) = self.state.epoch_over().filter(|_| !self.is_cut()) {
            self.state.epochs_committed = Epoch(epoch.0 + 1);
            self.actions.push_back(Action::CommitEpoch { epoch });
        }
    }

    pub(crate) fn pass_on(&mut self, op: OpId, queued: Queued) {
        let operator = self.state.op_mut(op);
        let number = operator.work_next;
        operator.work_next += 1;
        operator.counters.rows_in += queued.rows.0;
        operator.counters.rows_out += queued.rows.0;
        operator.counters.blocks_out += 1;
        operator.counters.bytes_out += queued.bytes;
        let at = Position { number, ..Position::default() };
        self.state.enqueue(Spot { after: op, at }, queued);
        self.state.queue_after_mut(op).end_work(number, queued.rows);
    }

    /// Ends what is above a limit that has all its rows. What was lost of those is still made again.
    pub(crate) fn end_above(&mut self, limit: OpId) {
        if core::mem::replace(&mut self.state.op_mut(limit).is_ended_early, true) {
            return;
        }
        let above = self.state.plan.above(limit).to_vec();
        // From the limit up, since work is wanted as long as what reads it is.
        for op in above.iter().rev() {
            self.end_early(*op);
        }
        self.drop_queued(limit);
        for op in above {
            self.end_if_through(op);
        }
    }

    /// Ends an operator of whose output nobody wants more. Its tasks are cancelled; what becomes of
    /// them changes nothing.
    fn end_early(&mut self, op: OpId) {
        let operator = self.state.op_mut(op);
        operator.is_ended_early = true;
        operator.listing.abandon();
        self.drop_queued(op);
        for id in self.state.op(op).live.ids().collect::<Vec<TaskId>>() {
            self.end_live(id);
        }
        for (number, mut task) in core::mem::take(&mut self.state.op_mut(op).retries) {
            self.limit_to_gaps(&mut task);
            if task.is_useless() {
                self.end_work(task);
            } else {
                self.state.op_mut(op).retries.insert(number, task);
            }
        }
        for (number, mut starved) in core::mem::take(&mut self.state.op_mut(op).starved) {
            self.limit_to_gaps(&mut starved.task);
            if starved.task.is_useless() {
                self.end_starved(starved);
            } else {
                self.state.op_mut(op).starved.insert(number, starved);
            }
        }
        if self.state.op(op).gaps == 0 {
            self.stop_actors(op);
        }
    }

    fn end_live(&mut self, id: TaskId) {
        let mut task = self.state.tasks.remove(&id).expect("because live tasks are known");
        let was_filling = task.is_filling;
        self.limit_to_gaps(&mut task);
        let is_wanted = was_filling && task.is_filling;
        if !is_wanted && !core::mem::replace(&mut task.is_cancelled, true) {
            self.actions.push_back(Action::CancelTask { task: id });
        }
        self.state.tasks.insert(id, task);
    }

    fn end_starved(&mut self, starved: Starved) {
        for part in &starved.input {
            if let Part::Here(slice) = part {
                self.let_go(slice.block);
            }
        }
        self.end_work(starved.task);
    }

    /// Leaves a piece of work nothing to do but to make those lost rows again that are wanted.
    fn limit_to_gaps(&mut self, task: &mut Task) {
        let gaps = task.gaps.len();
        let is_wanted = |goal: Goal| match goal {
            Goal::Queue(spot) => {
                let reader = self.state.plan.reader(spot.after);
                reader.is_none_or(|port| !self.state.op(port.op).is_ended_early)
            }
            Goal::Work(op, number) => self.state.op(op).starved.contains_key(&number),
            Goal::Consumer(_) => true,
        };
        task.is_filling &= task.gaps.first().is_some_and(|gap| is_wanted(gap.goal));
        task.gaps.retain(|gap| is_wanted(gap.goal));
        task.is_complete = true;
        let gone = gaps - task.gaps.len();
        self.state.op_mut(task.op).gaps -= gone;
    }

    /// Drops all that waits for `op`; work that has a part of a block may still read it.
    pub(crate) fn drop_queued(&mut self, op: OpId) {
        for input in 0..self.state.op(op).queues.len() {
            for queued in self.state.op_mut(op).queues[input].drain() {
                self.set_place(queued.block, Place::Input);
                if self.state.blocks[&queued.block].readers == 0 {
                    self.drop_block(queued.block);
                }
            }
        }
    }

    /// Notes that a piece of work reads a block, and whether that has left its queue.
    pub(super) fn hold(&mut self, id: BlockId, has_left: bool) {
        let block = self.state.blocks.get_mut(&id).expect("because the caller found it");
        block.readers += 1;
        if has_left {
            block.place = Place::Input;
            self.state.leave_barrier(id);
        }
    }

    /// Notes that a piece of work reads a block no more.
    pub(super) fn let_go(&mut self, id: BlockId) {
        let block = self.state.blocks.get_mut(&id).expect("because input is kept");
        block.readers -= 1;
        if block.readers == 0 && !matches!(block.place, Place::Queued(_)) {
            self.drop_block(id);
        }
    }

    pub(crate) fn set_place(&mut self, block: BlockId, place: Place) {
        let block = self.state.blocks.get_mut(&block).expect("because the caller found it");
        block.place = place;
    }
}
