//! What each action must fulfil, and what it means for the books.

use std::collections::BTreeSet;

use millstream_core::{
    Action, ActorId, BlockId, Bytes, FailCause, NodeId, OpId, OpKind, Rows, TaskId, Work,
};

use crate::checker::{ActorBook, Checker, Finding, Place, TaskBook, WorkBook, WorkKey};
use crate::rows::Content;

/// Fails with an invariant and words unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $invariant:literal, $($words:tt)+) => {
        if !$condition {
            return Err(($invariant, format!($($words)+)));
        }
    };
}
pub(super) use ensure;

impl Checker<'_> {
    pub(super) fn check_action(&mut self, action: &Action) -> Result<(), Finding> {
        let is_ending = matches!(
            action,
            Action::CancelTask { .. } | Action::DropBlock { .. } | Action::StopActor { .. }
        );
        ensure!(is_ending || !self.is_stopped, "I8", "ordered after the stop");
        match action {
            Action::LaunchTask { .. } => self.check_launch(action),
            Action::ResumeTask { task, credit } => {
                let book = self.tasks.get_mut(task);
                let Some(book) = book.filter(|book| !book.is_cancelled) else {
                    return Err(("protocol", "the task does not run".to_owned()));
                };
                book.credit += *credit;
                Ok(())
            }
            Action::CancelTask { task } => {
                // A task may end in the same turn, after the stop that cancels it.
                let is_late = self.is_stopped && self.ended.contains(task);
                match self.tasks.get_mut(task) {
                    Some(book) => book.is_cancelled = true,
                    None => ensure!(is_late, "protocol", "the task does not run"),
                }
                Ok(())
            }
            Action::StartActor { actor, op, node } => self.check_start_actor(*actor, *op, *node),
            Action::StopActor { actor } => self.check_stop_actor(*actor),
            Action::EmitBlock { block, instead_of: None } => self.check_emit(*block),
            Action::EmitBlock { block, instead_of: Some(lost) } => {
                self.check_replacement(*block, *lost)
            }
            Action::DropBlock { block } => self.check_drop(*block),
            Action::FailRun { cause, .. } => self.check_fail(*cause),
        }
    }

    fn check_launch(&mut self, action: &Action) -> Result<(), Finding> {
        let Action::LaunchTask {
            task,
            op,
            attempt,
            node,
            actor,
            work,
            rows_skipped,
            rows_wanted,
            credit,
        } = action
        else {
            return Ok(());
        };
        ensure!(self.failure.is_none(), "I8", "launched after the run failed");
        let key = self.check_work(*op, work)?;
        self.check_attempt(key, *attempt)?;
        match rows_wanted {
            None => self.check_rows(key, *rows_skipped)?,
            Some(wanted) => self.check_remake(key, *rows_skipped, *wanted)?,
        }
        self.check_site(key.0, *node, *actor)?;
        self.check_concurrency(key.0)?;
        ensure!(task.0 >= self.tasks_seen, "protocol", "the number was used before");
        self.tasks_seen = task.0 + 1;
        let remakes = rows_wanted.map(|wanted| (rows_skipped.0, wanted.0));
        self.start_task(*task, key, *node, *actor, (*credit, remakes));
        Ok(())
    }

    /// Whether the work is the next units, queued blocks, or a piece of work that waits for its next
    /// attempt; notes new work.
    fn check_work(&mut self, op: OpId, work: &Work) -> Result<WorkKey, Finding> {
        let op = op.0 as usize;
        let Some(spec) = self.scenario.plan.ops().get(op) else {
            return Err(("protocol", "there is no such operator".to_owned()));
        };
        let first = match (work, &spec.kind) {
            (Work::Units { first, .. }, OpKind::Source { .. }) => *first,
            (Work::Blocks(blocks), OpKind::Tasks | OpKind::Actors(_)) => {
                let Some(first) = blocks.first() else {
                    return Err(("protocol", "a task without input".to_owned()));
                };
                self.blocks.get(first).and_then(|book| book.reader).map_or(first.0, |key| key.1)
            }
            _ => return Err(("protocol", "the work is of the wrong kind".to_owned())),
        };
        let key = (op, first);
        if self.works.contains_key(&key) {
            self.check_same_work(key, work)?;
            return Ok(key);
        }
        let (input, output) = match work {
            Work::Units { first, count } => (Content::default(), self.take_units(*first, *count)?),
            Work::Blocks(blocks) => self.take_blocks(key, blocks)?,
        };
        let work = WorkBook {
            work: work.clone(),
            input,
            output,
            accepted: 0,
            attempts: 0,
            deaths: 0,
            is_running: false,
            is_done: false,
            is_over: false,
        };
        self.works.insert(key, work);
        Ok(key)
    }

    fn take_units(&mut self, first: u64, count: u64) -> Result<Content, Finding> {
        let (next, total) = (self.units_next, self.scenario.unit_rows.len() as u64);
        ensure!(first == next, "I3", "unit {next} is the next one");
        ensure!(count > 0 && first + count <= total, "I3", "there are only {total} units");
        self.units_next += count;
        Ok(self.rows.of_units(first, count))
    }

    fn take_blocks(
        &mut self,
        key: WorkKey,
        blocks: &[BlockId],
    ) -> Result<(Content, Content), Finding> {
        let op = key.0;
        let mut input = Content::default();
        for block in blocks {
            let producer = self.blocks.get(block).map(|book| book.producer);
            let is_read = producer.is_some_and(|producer| self.reads(op, producer));
            let Some(book) = self.blocks.get_mut(block) else {
                return Err(("I2", format!("{block} does not exist")));
            };
            ensure!(is_read, "I2", "{block} waits before another operator");
            ensure!(book.place == Place::Queued, "I2", "{block} is {:?}", book.place);
            book.place = Place::Input;
            book.reader = Some(key);
            input.append(&book.content);
        }
        let output = self.rows.of_input(op, &input);
        Ok((input, output))
    }

    /// Whether a later attempt works on the same rows, in blocks that exist.
    fn check_same_work(&mut self, key: WorkKey, work: &Work) -> Result<(), Finding> {
        let book = &self.works[&key];
        let Work::Blocks(blocks) = work else {
            ensure!(book.work == *work, "I3", "the work was {:?} at its first attempt", book.work);
            return Ok(());
        };
        let mut input = Content::default();
        for block in blocks {
            let held = self.blocks.get(block).filter(|held| held.place == Place::Input);
            let Some(held) = held.filter(|held| held.reader == Some(key)) else {
                return Err(("I3", format!("{block} is no input of this work")));
            };
            input.append(&held.content);
        }
        ensure!(input == book.input, "I3", "the work was {:?} at its first attempt", book.input);
        self.works.get_mut(&key).expect("because it was found above").work = work.clone();
        Ok(())
    }

    fn check_attempt(&mut self, key: WorkKey, attempt: u32) -> Result<(), Finding> {
        let book = self.works.get_mut(&key).expect("because it was noted just now");
        ensure!(!book.is_over, "I3", "the work is done");
        ensure!(!book.is_running, "I3", "another attempt at the work runs");
        ensure!(book.attempts == attempt, "protocol", "it is attempt {}", book.attempts);
        book.attempts += 1;
        book.is_running = true;
        Ok(())
    }

    fn check_rows(&self, key: WorkKey, rows_skipped: Rows) -> Result<(), Finding> {
        let book = &self.works[&key];
        ensure!(!book.is_done, "I3", "the work is done");
        ensure!(book.accepted == rows_skipped.0, "I9", "{} rows are out already", book.accepted);
        Ok(())
    }

    fn check_site(
        &mut self,
        op: usize,
        node: NodeId,
        actor: Option<ActorId>,
    ) -> Result<(), Finding> {
        let OpKind::Actors(pool) = self.scenario.plan.ops()[op].kind else {
            ensure!(actor.is_none(), "protocol", "a stateless task on an actor");
            return self.take(node, op);
        };
        let Some(book) = actor.and_then(|actor| self.actors.get(&actor)) else {
            return Err(("protocol", "there is no such actor".to_owned()));
        };
        ensure!(book.op == op && book.node == node, "protocol", "it is another actor");
        ensure!(book.is_ready, "protocol", "the actor is not ready");
        let tasks = book.tasks.len();
        ensure!(
            tasks < pool.tasks_in_flight_max as usize,
            "protocol",
            "the actor has {tasks} tasks already"
        );
        Ok(())
    }

    fn check_concurrency(&self, op: usize) -> Result<(), Finding> {
        let spec = &self.scenario.plan.ops()[op];
        if matches!(spec.kind, OpKind::Actors(_)) {
            return Ok(());
        }
        let limit = spec.concurrency_max as usize;
        let running = self.tasks.values().filter(|task| task.key.0 == op).count();
        ensure!(limit == 0 || running < limit, "protocol", "{running} tasks run already");
        Ok(())
    }

    fn start_task(
        &mut self,
        id: TaskId,
        key: WorkKey,
        node: NodeId,
        actor: Option<ActorId>,
        (credit, remakes): (Bytes, Option<(u64, u64)>),
    ) {
        if let Some(actor) = actor.and_then(|actor| self.actors.get_mut(&actor)) {
            actor.tasks.insert(id);
        }
        let is_cancelled = false;
        let book = TaskBook { key, node, actor, credit, is_cancelled, remakes };
        self.tasks.insert(id, book);
    }

    fn check_start_actor(&mut self, id: ActorId, op: OpId, node: NodeId) -> Result<(), Finding> {
        ensure!(self.failure.is_none(), "I8", "started after the run failed");
        ensure!(id.0 >= self.actors_seen, "protocol", "the number was used before");
        self.actors_seen = id.0 + 1;
        let op = op.0 as usize;
        let Some(OpKind::Actors(pool)) = self.scenario.plan.ops().get(op).map(|op| &op.kind) else {
            return Err(("protocol", "the operator has no actors".to_owned()));
        };
        // An actor on a node that drains ends its tasks while another one takes its place.
        let is_staying = |actor: &&ActorBook| {
            actor.op == op && self.nodes.get(&actor.node).is_some_and(|node| !node.is_draining)
        };
        let size = self.actors.values().filter(is_staying).count();
        ensure!(size < pool.actors_max as usize, "protocol", "the pool has {size} actors already");
        self.take(node, op)?;
        self.actors.insert(id, ActorBook { op, node, is_ready: false, tasks: BTreeSet::new() });
        Ok(())
    }

    fn check_stop_actor(&mut self, id: ActorId) -> Result<(), Finding> {
        let Some(actor) = self.actors.remove(&id) else {
            // An actor may be lost in the same turn, after the stop that ends it.
            let is_late = self.is_stopped && id.0 < self.actors_seen;
            ensure!(is_late, "protocol", "there is no such actor");
            return Ok(());
        };
        for task in &actor.tasks {
            let is_cancelled = self.tasks.get(task).is_none_or(|task| task.is_cancelled);
            ensure!(is_cancelled, "protocol", "{task} still runs on it");
        }
        self.give(actor.node, actor.op);
        Ok(())
    }

    fn check_emit(&mut self, id: BlockId) -> Result<(), Finding> {
        let last = self.last_op();
        let Some(block) = self.blocks.get_mut(&id) else {
            return Err(("I2", "it does not exist".to_owned()));
        };
        ensure!(block.producer == last, "I2", "it is no output");
        ensure!(block.place == Place::Queued, "I2", "it is {:?}", block.place);
        block.place = Place::Emitted;
        let expected = self.output.prefix();
        if let Err(stretch) = self.output.add(&block.content) {
            return Err(("I9", format!("rows {}..{} are out twice", stretch.first, stretch.end)));
        }
        let rows = block.content.rows();
        let in_order =
            !self.scenario.plan.config().preserve_order || self.output.prefix() == expected + rows;
        ensure!(in_order, "I9", "row {expected} is the next, not {:?}", block.content.stretches());
        Ok(())
    }

    fn check_drop(&mut self, id: BlockId) -> Result<(), Finding> {
        let Some(block) = self.blocks.remove(&id) else {
            ensure!(self.doubled.remove(&id), "I2", "it does not exist");
            return Ok(());
        };
        let is_free = block.place == Place::Useless || self.is_stopped;
        ensure!(is_free, "I2", "it is {:?}", block.place);
        if let Some(node) = self.nodes.get_mut(&block.node) {
            node.store_used -= block.bytes;
        }
        Ok(())
    }

    fn check_fail(&mut self, cause: FailCause) -> Result<(), Finding> {
        ensure!(self.failure.is_none(), "protocol", "the run failed before");
        ensure!(
            self.justified.contains(&cause),
            "protocol",
            "nothing that happened is such a failure, but {:?}",
            self.justified
        );
        self.failure = Some(cause);
        Ok(())
    }

    /// Takes the slots of a task or actor of `op` at `node`.
    fn take(&mut self, node: NodeId, op: usize) -> Result<(), Finding> {
        let request = self.request(op).clone();
        let Some(book) = self.nodes.get_mut(&node) else {
            return Err(("protocol", "there is no such node".to_owned()));
        };
        ensure!(!book.is_draining, "protocol", "the node is draining");
        ensure!(book.free.fits(&request), "I1", "it needs {request}, {} is free", book.free);
        book.free.debit(&request);
        Ok(())
    }
}
