//! The way of blocks to several consumers.
//!
//! Where all get equally many rows, a block goes on only to one who may have it whole; at the end, or
//! where nothing else moves, what is left is cut by tasks, and less than a row for each is dropped.

pub(crate) mod consumers;

use crate::operator::Goal;
use crate::operators::split::consumers::InHand;
use crate::operators::{Meaning, OpKind};
use crate::plan::{OpSpec, PlanError};
use crate::policy::granularity::{self, Portion};
use crate::protocol::{OutputPlace, OutputRows, Reason};
use crate::queue::Queued;
use crate::scheduler::Scheduler;
use crate::state::{Place, State};
use crate::units::{BlockId, OpId, Rows};

pub(crate) struct Split;

impl Meaning for Split {
    fn passes_blocks(&self) -> bool {
        true
    }

    fn changes_rows(&self) -> bool {
        false
    }

    fn check(&self, op: &OpSpec, is_last: bool) -> Result<(), PlanError> {
        let must = |wanted| Err(PlanError::Split { name: op.name.clone(), wanted });
        match &op.kind {
            OpKind::Split { .. } if !is_last => must("be the last one"),
            OpKind::Split { consumers: 0, .. } => must("have consumers"),
            OpKind::Split { left_out, .. } if !are_apart(left_out) => {
                must("leave out rows that are apart and in order")
            }
            _ => Ok(()),
        }
    }

    /// What the consumer with the fewest rows gets of a block that nobody may have whole: only when no more
    /// comes, or nothing else moves.
    fn portion(&self, state: &State, op: OpId, anything: bool) -> Result<Portion, Reason> {
        let (operator, split) = (state.op(op), state.split.as_ref());
        let front = operator.queue().ready().next();
        let (Some(front), Some(split)) = (front, split) else {
            return Err(granularity::nothing_ready(operator.queue()));
        };
        let waiting = split.counted_next(operator.queue().rows());
        let rows = split.counted_next(front.rows);
        let level = split.level(waiting);
        if front.first == Rows::ZERO && split.fits(rows, level) {
            return Err(Reason::OutputFull { bytes: state.output.bytes() + state.emitted_bytes });
        }
        let is_due = operator.input_ended() || anything || front.first > Rows::ZERO;
        match split.behind(level).filter(|_| is_due) {
            Some((_, lacks)) => Ok(Portion::Rows(split.with_counted(lacks, front.rows))),
            None => Err(Reason::ConsumersUneven { rows: waiting, wanted: split.wanted(rows) }),
        }
    }

    fn advance(&self, scheduler: &mut Scheduler, op: OpId) {
        scheduler.pass_split(op);
    }

    /// What it cuts is for the consumer with the fewest rows.
    fn note_portion(&self, scheduler: &mut Scheduler, op: OpId, portion: Portion) {
        let Portion::Rows(rows) = portion else { return };
        let front = scheduler.state.op(op).queue().ready().next().map(|front| front.block);
        let front = front.expect("because rows of it are to be cut");
        let epoch = scheduler.state.epoch_of(front);
        let (operator, split) =
            (&scheduler.state.ops[op.0 as usize], scheduler.state.split.as_mut());
        let split = split.expect("because the plan has a split");
        let level = split.level(split.counted_next(operator.queue().rows()));
        if let Some((consumer, _)) = split.behind(level) {
            split.pass(operator.work_next, rows, epoch, Some(consumer));
        }
    }

    fn note_launch(&self, scheduler: &mut Scheduler, op: OpId) {
        scheduler.pass_split(op);
        scheduler.emit_output();
    }

    fn cuts_blocks(&self) -> bool {
        true
    }

    fn may_run_tasks(&self, op: &OpSpec) -> bool {
        matches!(op.kind, OpKind::Split { equal: true, .. })
    }
}

fn are_apart(rows: &[OutputRows]) -> bool {
    let is_apart = |pair: &[OutputRows]| pair[0].end < pair[1].first;
    rows.iter().all(|each| each.first < each.end) && rows.windows(2).all(is_apart)
}

impl Scheduler {
    /// Passes on the blocks that somebody may have.
    fn pass_split(&mut self, op: OpId) {
        while let Some(queued) = self.pop_for_split(op) {
            self.pass_on(op, queued);
        }
        self.drop_left_over(op);
    }

    /// Drops what is not enough for one row more for each, once no more comes.
    fn drop_left_over(&mut self, op: OpId) {
        let (operator, split) = (self.state.op(op), self.state.split.as_ref());
        let Some(split) = split.filter(|split| split.is_equal && operator.input_ended()) else {
            return;
        };
        let rest = split.counted_next(operator.queue().rows());
        if operator.queued_blocks() > 0 && split.behind(split.level(rest)).is_none() {
            self.drop_rows(rest);
            self.drop_queued(op);
        }
    }

    fn pop_for_split(&mut self, op: OpId) -> Option<Queued> {
        let next = *self.state.op(op).queue().ready().next()?;
        let epoch = self.state.epoch_of(next.block);
        let operator = &mut self.state.ops[op.0 as usize];
        let split = self.state.split.as_mut()?;
        let mut consumer = None;
        if split.is_equal {
            let level = split.level(split.counted_next(operator.queue().rows()));
            let rows = split.counted_next(next.rows);
            let whole = split.next(rows, Some(level)).filter(|_| next.first == Rows::ZERO);
            consumer = Some(whole?);
        }
        split.pass(operator.work_next, next.rows, epoch, consumer);
        operator.queue_mut().pop()
    }

    /// Gives the output to those who may have more.
    pub(crate) fn emit_to_several(&mut self) {
        while let Some(split) = &mut self.state.split {
            let next = self.state.output.ready().next().copied();
            let Some((next, consumer)) = next.and_then(|q| Some((q, split.owner(&q)?))) else {
                return;
            };
            self.state.output.pop();
            let at = split.give(consumer, next);
            if split.is_gone(consumer) {
                self.drop_for_gone(&next);
            } else {
                self.emit(next, consumer, at);
            }
        }
    }

    /// What a consumer that is gone has not taken goes to the others, or where all get equally many, to
    /// nobody. Without any consumer the run stops.
    pub(crate) fn consumer_gone(&mut self, consumer: u32) {
        let split = self.state.split.as_mut().filter(|split| !split.is_gone(consumer));
        let Some(split) = split.filter(|_| !self.state.is_stopping) else {
            self.state.stale_events += 1;
            return;
        };
        let in_hand = split.leave(consumer);
        if split.are_all_gone() {
            return self.stop();
        }
        let is_equal = split.is_equal;
        for (id, in_hand) in in_hand.into_iter().rev() {
            let is_there = self.state.blocks.get(&id).is_some_and(|b| b.place == Place::Emitted);
            if is_there {
                self.take_back_output(id, in_hand, is_equal);
            }
        }
    }

    fn take_back_output(&mut self, id: BlockId, in_hand: InHand, is_equal: bool) {
        if let Some(split) = &mut self.state.split {
            split.release(id);
        }
        let InHand { queued, at, .. } = in_hand;
        self.state.take_from_hand(queued.bytes);
        if is_equal {
            self.drop_rows(queued.rows);
            self.drop_block(id);
        } else {
            self.state.output_blocks -= 1;
            self.state.output_rows -= queued.rows.0;
            self.return_output(queued, at);
        }
    }

    /// Puts a block back that had left the output.
    fn return_output(&mut self, queued: Queued, at: OutputPlace) {
        if let Some(split) = &mut self.state.split {
            split.take_back(&queued, at);
        }
        let last = self.state.op_ids().next_back().expect("because a plan has operators");
        self.set_place(queued.block, Place::Queued(last));
        self.state.output.put_back(queued);
    }

    /// Brings a block to who waits for it in the place of a lost one, unless that is gone.
    pub(crate) fn emit_instead(&mut self, made: Queued, lost: BlockId) {
        let in_hand = self.state.split.as_mut().and_then(|split| split.replace(lost, made.rows));
        let at = in_hand.map_or_else(OutputPlace::default, |in_hand| in_hand.at);
        let (consumer, queued) = in_hand.map_or((0, made), |in_hand| {
            (in_hand.consumer, Queued { at: in_hand.queued.at, ..made })
        });
        let split = self.state.split.as_mut();
        let is_equal = split.as_ref().map(|split| (split.is_gone(consumer), split.is_equal));
        match is_equal {
            Some((true, true)) => {
                return self.drop_for_gone(&made);
            }
            Some((true, false)) => return self.return_output(queued, at),
            Some((false, _)) | None => {}
        }
        if let Some(split) = split {
            split.hold(consumer, queued, at);
        }
        self.put_in_hand(&made, Some(lost), consumer, at);
    }

    /// Nobody waits for a lost block any more.
    pub(crate) fn end_goal(&mut self, goal: Goal) {
        if let (Goal::Consumer(lost), Some(split)) = (goal, &mut self.state.split) {
            split.release(lost);
        }
    }

    /// Drops a block that was for a consumer that is gone.
    fn drop_for_gone(&mut self, queued: &Queued) {
        self.drop_rows(queued.rows);
        self.set_place(queued.block, Place::Input);
        self.drop_block(queued.block);
    }

    fn drop_rows(&mut self, rows: Rows) {
        if let Some(split) = &mut self.state.split {
            split.rows_dropped += rows;
        }
    }
}
