//! What follows from a loss: blocks that are still of use are made again, by the same operators and
//! under the same budgets as the first time.
//!
//! Lost rows become *gaps* of the piece of work that made them. A piece of work with gaps makes them
//! again, one attempt each, before it goes on; one that had ended begins once more. Its own input,
//! where that is gone too, becomes a gap of the work above, and so on up to the source. Rows count,
//! not blocks, since an attempt may cut its blocks elsewhere.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::lineage::{Origin, RowRange};
use crate::operator::{Gap, Goal, Part, Starved, Task};
use crate::protocol::{Action, FailCause, Slice, Work};
use crate::queue::{Position, Queued, Spot};
use crate::scheduler::Scheduler;
use crate::state::{Block, Place, Shelf, State};
use crate::units::{BlockId, NodeId, OpId, Rows, TaskId};

impl Scheduler {
    /// A consumer that finds a block gone says so here, and waits for what takes its place.
    pub(super) fn block_lost(&mut self, block: BlockId) {
        if self.state.blocks.get(&block).is_none_or(|b| b.place == Place::Lost) {
            self.state.stale_events += 1;
            return;
        }
        self.lose_blocks(&BTreeSet::from([block]));
    }

    /// Takes blocks that are gone off the books, and has those that are still of use made again.
    ///
    /// A task that runs may have read its input before that was lost, so only its failure shows
    /// whether that is needed again.
    pub(super) fn lose_blocks(&mut self, lost: &BTreeSet<BlockId>) {
        let mut gone: Vec<(BlockId, Block)> = Vec::new();
        for id in lost {
            let block = self.state.blocks.get_mut(id).expect("because the caller found it");
            gone.push((*id, *block));
            block.place = Place::Lost;
            let block = Block { shelf: core::mem::replace(&mut block.shelf, Shelf::Off), ..*block };
            self.state.discharge(&block);
            self.state.op_mut(block.producer).counters.blocks_lost += 1;
            self.actions.push_back(Action::DropBlock { block: *id });
        }
        gone.sort_by_key(|(_, block)| (block.producer, block.at));
        let left = self.lose_queued(&gone);
        for (id, block) in gone {
            let (first, rows, goal) = match block.place {
                Place::Queued(after) => {
                    let left = &left[&id];
                    let goal = Goal::Queue(Spot { after, at: left.at });
                    (left.first, left.rows, goal)
                }
                Place::Emitted => {
                    self.state.take_from_hand(block.bytes);
                    self.state.replacements += u64::from(block.rows > Rows::ZERO);
                    if block.rows == Rows::ZERO {
                        self.end_goal(Goal::Consumer(id));
                    }
                    (Rows::ZERO, block.rows, Goal::Consumer(id))
                }
                Place::Input | Place::Lost => continue,
            };
            self.demand(block.producer, Gap { at: block.at.after(first), rows, goal });
            if block.readers == 0 {
                self.drop_block(id);
            }
        }
        self.starve_waiting();
    }

    /// Takes lost blocks out of their queues, and tells what was left of them there.
    fn lose_queued(&mut self, gone: &[(BlockId, Block)]) -> BTreeMap<BlockId, Queued> {
        let mut queues: BTreeMap<OpId, BTreeSet<BlockId>> = BTreeMap::new();
        for (id, block) in gone {
            if let Place::Queued(after) = block.place {
                queues.entry(after).or_default().insert(*id);
            }
        }
        let mut left = BTreeMap::new();
        for (after, lost) in queues {
            let taken = self.state.queue_after_mut(after).lose(|block| lost.contains(&block));
            left.extend(taken.into_iter().map(|queued| (queued.block, queued)));
        }
        left
    }

    /// Has lost rows made again. Empty blocks carry only a schema and are not made again.
    fn demand(&mut self, op: OpId, gap: Gap) {
        if gap.rows == Rows::ZERO {
            return;
        }
        let number = gap.at.number;
        self.reopen(op);
        if let Some(id) = self.state.op(op).live.get(number) {
            self.interrupt(id);
        }
        if self.known_work(op, number).is_none() {
            self.begin_again(op, number);
        }
        let task = self.known_work(op, number).expect("because it is there, or was just begun");
        let is_new = add_gap(task, gap);
        self.state.op_mut(op).gaps += usize::from(is_new);
    }

    /// Work that has more to do: it runs, or waits for an attempt or for its input.
    fn known_work(&mut self, op: OpId, number: u64) -> Option<&mut Task> {
        let state = &mut self.state;
        let operator = &mut state.ops[op.0 as usize];
        if let Some(id) = operator.live.get(number) {
            return state.tasks.get_mut(&id).map(Box::as_mut);
        }
        let waiting = operator.retries.get_mut(&number);
        let waiting =
            waiting.or_else(|| operator.starved.get_mut(&number).map(|starved| &mut starved.task));
        waiting.map(Box::as_mut)
    }

    /// Cancels a task that may be paused behind the very rows that its work has to make again. It
    /// goes on later from where it stopped.
    fn interrupt(&mut self, id: TaskId) {
        let task = &self.state.tasks[&id];
        if !task.is_filling && !task.is_cancelled {
            self.preempt(id);
        }
    }

    /// Lets work that had ended begin once more, on input that is made again too.
    fn begin_again(&mut self, op: OpId, number: u64) {
        let (origin, items) = self.state.lineage.origin(op, number);
        let (origin, items) = (origin.clone(), items);
        self.state.lineage.retain(op, number);
        if let Origin::Units { first, count } = origin {
            let task = again(op, number, Work::Units { first, count }, items);
            self.state.op_mut(op).retries.insert(number, task);
            return;
        }
        let task = again(op, number, Work::Blocks(Vec::new()), items);
        let input = origin.ranges().iter().copied().map(Part::Coming).collect();
        self.state.op_mut(op).starved.insert(number, Starved { task, input });
        for range in origin.ranges() {
            self.demand_input(op, number, *range);
        }
    }

    /// Has the input of work `number` of `op` made again.
    fn demand_input(&mut self, op: OpId, number: u64, range: RowRange) {
        let at = Position { number: range.number, row: range.row, ..Position::default() };
        let goal = Goal::Work(op, number);
        self.demand(range.op, Gap { at, rows: range.rows, goal });
    }

    /// An operator that was through has work again, and what reads it, behind what its blocks only
    /// pass, has more to come.
    fn reopen(&mut self, op: OpId) {
        let mut at = Some(op);
        while let Some(op) = at {
            self.state.op_mut(op).is_done = false;
            self.state.queue_after_mut(op).reopen();
            let reader = self.state.plan.reader(op).map(|port| port.op);
            at = reader.filter(|reader| self.state.passes_blocks(*reader));
        }
    }

    /// Puts aside the work that waits for its next attempt, or for other input, and whose input was
    /// lost.
    fn starve_waiting(&mut self) {
        for op in self.state.op_ids() {
            let retries = core::mem::take(&mut self.state.op_mut(op).retries);
            for task in retries.into_values() {
                self.wait_for_attempt(task);
            }
            let starved: Vec<u64> = self.state.op(op).starved.keys().copied().collect();
            for number in starved {
                self.renew_input(op, number);
            }
        }
    }

    /// Has work wait for its next attempt, or for those of its blocks that were lost.
    pub(super) fn wait_for_attempt(&mut self, mut task: Box<Task>) {
        let op = task.op;
        let is_whole = |id: BlockId| self.state.blocks[&id].place != Place::Lost;
        if task.work.blocks().all(is_whole) {
            self.state.op_mut(op).retries.insert(task.number, task);
            return;
        }
        let input = self.state.slices(&task.work).into_iter().map(Part::Here).collect();
        // Room that is held by work that cannot run might be what its input needs.
        self.release_room(&mut task);
        task.work = Work::Blocks(Vec::new());
        let number = task.number;
        self.state.op_mut(op).starved.insert(number, Starved { task, input });
        self.renew_input(op, number);
    }

    /// Has those parts of starved work's input that are lost made again.
    fn renew_input(&mut self, op: OpId, number: u64) {
        let mut lost: Vec<(BlockId, RowRange)> = Vec::new();
        let State { ops, blocks, .. } = &mut self.state;
        let starved = ops[op.0 as usize].starved.get_mut(&number);
        let starved = starved.expect("because the caller found it there");
        for part in &mut starved.input {
            let Part::Here(slice) = *part else { continue };
            let block = &blocks[&slice.block];
            if block.place == Place::Lost {
                let range = block.range(slice.first, slice.rows);
                *part = Part::Coming(range);
                lost.push((slice.block, range));
            }
        }
        for (id, range) in lost {
            self.demand_input(op, number, range);
            self.let_go(id);
        }
        self.feed(op, number);
    }

    /// Lets starved work wait for its next attempt once its input is whole.
    fn feed(&mut self, op: OpId, number: u64) {
        let operator = self.state.op_mut(op);
        let starved = operator.starved.get_mut(&number).expect("because the caller found it there");
        starved.input.retain(|part| !matches!(part, Part::Coming(s) if s.rows == Rows::ZERO));
        let mut slices = Vec::new();
        for part in &starved.input {
            let Part::Here(slice) = part else { return };
            slices.push(*slice);
        }
        let mut task = operator.starved.remove(&number).expect("because it was there").task;
        if slices.is_empty() {
            return self.end_without_input(task);
        }
        task.work = self.work_of(op, slices);
        self.state.op_mut(op).retries.insert(number, task);
    }

    /// Work on parts of blocks, which are in order for each input of the operator.
    fn work_of(&self, op: OpId, slices: Vec<Slice>) -> Work {
        let spec = self.state.spec(op);
        if !spec.kind.meaning().cuts_blocks() {
            return Work::Blocks(slices.into_iter().map(|slice| slice.block).collect());
        }
        let mut inputs = alloc::vec![Vec::new(); spec.inputs.len()];
        for slice in slices {
            let producer = self.state.blocks[&slice.block].producer;
            let port = self.state.plan.path(producer).find(|port| port.op == op);
            let port = port.expect("because what an operator reads reaches it");
            inputs[port.input].push(slice);
        }
        Work::Slices(inputs)
    }

    /// Ends work all of whose input was lost and had no rows.
    fn end_without_input(&mut self, mut task: Box<Task>) {
        if let Some(gap) = task.gaps.first() {
            self.fail(task.op, None, FailCause::BlockLost { rows: gap.rows });
        }
        if !core::mem::replace(&mut task.is_complete, true) {
            self.state.queue_after_mut(task.op).end_work(task.number, task.rows_out);
        }
        self.end_work(task);
    }

    /// Brings a new block to where it is waited for.
    pub(super) fn deliver(&mut self, goal: Goal, id: BlockId, block: Block) {
        let Block { at, rows, bytes, .. } = block;
        self.state.blocks.insert(id, block);
        match goal {
            Goal::Queue(spot) => {
                let queued = Queued { block: id, at, first: Rows::ZERO, rows, bytes };
                self.state.enqueue(spot, queued);
            }
            Goal::Consumer(lost) => {
                let made = Queued { block: id, at, first: Rows::ZERO, rows, bytes };
                self.emit_instead(made, lost);
            }
            Goal::Work(op, number) => {
                self.hold(id, true);
                self.put_back(op, number, id, block.range(Rows::ZERO, rows));
            }
        }
    }

    /// Gives a block to the starved work that it was made for.
    fn put_back(&mut self, op: OpId, number: u64, id: BlockId, made: RowRange) {
        let starved = self.state.op_mut(op).starved.get_mut(&number);
        let starved = starved.expect("because starved work waits for all its input");
        let is_place = |part: &Part| {
            matches!(part, Part::Coming(range)
                if (range.op, range.number, range.row) == (made.op, made.number, made.row))
        };
        let place = starved.input.iter().position(is_place);
        let place = place.expect("because what is made again was demanded");
        if let Part::Coming(range) = &mut starved.input[place] {
            range.row += made.rows.0;
            range.rows -= made.rows;
        }
        let slice = Slice { block: id, first: Rows::ZERO, rows: made.rows };
        starved.input.insert(place, Part::Here(slice));
        self.feed(op, number);
    }

    /// Ends an attempt that filled a gap.
    pub(super) fn gap_filled(&mut self, mut task: Box<Task>) {
        let gap = task.gaps.remove(0);
        task.is_filling = false;
        let operator = self.state.op_mut(task.op);
        operator.gaps -= 1;
        self.state.replacements -= u64::from(matches!(gap.goal, Goal::Consumer(_)));
        self.end_goal(gap.goal);
        if gap.rows > Rows::ZERO {
            self.fail(task.op, None, FailCause::BlockLost { rows: gap.rows });
        }
        self.go_on(task);
    }

    /// Ends a piece of work, or has it wait for its next attempt while something of it is missing.
    pub(super) fn go_on(&mut self, mut task: Box<Task>) {
        if task.is_complete && task.gaps.is_empty() {
            return self.end_work(task);
        }
        self.prepare_attempt(&mut task);
        self.wait_for_attempt(task);
    }

    pub(super) fn end_work(&mut self, mut task: Box<Task>) {
        self.release_room(&mut task);
        self.forget_kill(&mut task);
        for block in task.work.blocks() {
            self.let_go(block);
        }
        self.state.lineage.release(task.op, task.number);
    }

    /// Blocks on a lost node. Those with the consumer are not among them: it may have read them, and
    /// says so if not.
    pub(super) fn blocks_on(&mut self, node: NodeId) -> BTreeSet<BlockId> {
        let mut there = BTreeSet::new();
        for (id, block) in self.state.blocks.iter() {
            if block.node == node && block.place != Place::Lost {
                if block.place == Place::Emitted {
                    self.state.ledger.discharge(node, block.producer, block.bytes);
                } else {
                    there.insert(id);
                }
            }
        }
        there
    }
}

/// Adds a gap in the order of the rows, behind the one that is being filled. False if it only
/// lengthens one.
fn add_gap(task: &mut Task, gap: Gap) -> bool {
    let fixed = usize::from(task.is_filling);
    let last = task.gaps[fixed..].last_mut().filter(|last| {
        let (Goal::Queue(before), Goal::Queue(spot)) = (last.goal, gap.goal) else { return false };
        let end = before.at.after(last.rows);
        before.after == spot.after
            && (end.number, end.row) == (spot.at.number, spot.at.row)
            && last.at.row + last.rows.0 == gap.at.row
    });
    if let Some(last) = last {
        last.rows += gap.rows;
        return false;
    }
    let place = fixed + task.gaps[fixed..].partition_point(|other| other.at.row < gap.at.row);
    task.gaps.insert(place, gap);
    true
}

/// Work that had ended, before its next attempt.
fn again(op: OpId, number: u64, work: Work, items: u64) -> Box<Task> {
    Box::new(Task { is_complete: true, attempt: 1, ..Task::new(op, number, work, items) })
}
