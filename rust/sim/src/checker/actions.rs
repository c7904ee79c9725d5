//! What each action must fulfil, and what it means for the books.

use std::collections::BTreeSet;

use millstream_core::{
    Action, ActorId, BlockId, Bytes, FailCause, NodeId, OpId, OpKind, OutputPlace, Rows, Slice,
    TaskId, Work,
};

use crate::checker::{ActorBook, Checker, Finding, NodeBook, Place, TaskBook, WorkBook, WorkKey};
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
            Action::StartActor { actor, op, node, heap } => {
                self.check_start_actor(*actor, *op, *node, *heap)
            }
            Action::StopActor { actor } => self.check_stop_actor(*actor),
            Action::EmitBlock { block, instead_of: None, consumer, at } => {
                self.check_emit(*block, *consumer, *at)
            }
            Action::EmitBlock { block, instead_of: Some(lost), consumer, .. } => {
                self.check_taker_of_lost(*block, *lost, *consumer)?;
                self.check_replacement(*block, *lost)?;
                let mut in_hand = self.lost_in_hand.values();
                if !self.replacements.contains_key(lost) && in_hand.all(|waited| waited != lost) {
                    self.takers.release(*lost);
                }
                Ok(())
            }
            Action::DropBlock { block } => self.check_drop(*block),
            Action::ExtendSource { op, first, units } => self.check_extend(*op, *first, *units),
            Action::CommitEpoch { epoch } => self.check_commit(*epoch),
            Action::FailRun { op, cause, .. } => self.check_fail(*op, *cause),
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
            heap,
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
        self.check_site(key.0, *node, *actor, *heap)?;
        self.check_concurrency(key.0)?;
        ensure!(task.0 >= self.tasks_seen, "protocol", "the number was used before");
        self.tasks_seen = task.0 + 1;
        let remakes = rows_wanted.map(|wanted| (rows_skipped.0, wanted.0));
        self.start_task(*task, key, (*node, *actor, *heap), (*credit, remakes));
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
            (Work::Units { first, .. }, OpKind::Source { .. }) => Some((*first, 0)),
            (
                Work::Blocks(blocks),
                OpKind::Tasks
                | OpKind::Actors(_)
                | OpKind::Sink
                | OpKind::Scatter { .. }
                | OpKind::Gather,
            ) => self.first_of(op, blocks.first().map(|block| self.whole(*block))),
            (Work::Slices(inputs), OpKind::Limit { .. } | OpKind::Zip | OpKind::Split { .. }) => {
                self.first_of(op, inputs.iter().flatten().next().copied())
            }
            _ => return Err(("protocol", "the work is of the wrong kind".to_owned())),
        };
        let Some((first, row)) = first else {
            return Err(("protocol", "a task without input".to_owned()));
        };
        let key = (op, first, row);
        if self.works.contains_key(&key) {
            self.check_same_work(key, work)?;
            return Ok(key);
        }
        let epoch = self.epoch_of(work)?;
        let (input, output) = match work {
            Work::Units { first, count } => {
                (Content::default(), self.take_units(op, *first, *count)?)
            }
            Work::Blocks(_) | Work::Slices(_) => {
                let input = self.take_inputs(key, work)?;
                self.check_partition(op, &input)?;
                let output = self.rows.of_input(op, &input);
                (input, output)
            }
        };
        let work = WorkBook {
            work: work.clone(),
            input,
            output,
            epoch,
            accepted: 0,
            attempts: 0,
            deaths: 0,
            heap_killed: None,
            is_guess_due: false,
            is_running: false,
            is_done: false,
            is_over: false,
        };
        self.works.insert(key, work);
        Ok(key)
    }

    fn take_units(&mut self, op: usize, first: u64, count: u64) -> Result<Content, Finding> {
        let (next, total) = (self.units_next[op], self.lists[op].listed);
        ensure!(first == next, "I3", "unit {next} is the next one");
        ensure!(count > 0 && first + count <= total, "I3", "only {total} units are listed");
        self.units_next[op] += count;
        Ok(self.rows.of_units(op, first, count))
    }

    /// The first unit or block of work on parts of blocks, and the first row in that: what it was at
    /// its first attempt, if there was one.
    fn first_of(&self, op: usize, slice: Option<Slice>) -> Option<(u64, u64)> {
        let slice = slice?;
        let held = self.blocks.get(&slice.block).and_then(|book| {
            let part = book.content.part(slice.first.0, slice.rows.0);
            let reads = |(key, held): &&(WorkKey, Content)| key.0 == op && *held == part;
            book.readers.iter().find(reads).map(|(key, _)| (key.1, key.2))
        });
        Some(held.unwrap_or((slice.block.0, slice.first.0)))
    }

    fn whole(&self, block: BlockId) -> Slice {
        let rows = self.blocks.get(&block).map_or(0, |book| book.content.rows());
        Slice { block, first: Rows::ZERO, rows: Rows(rows) }
    }

    /// The parts of blocks that some work reads, by input.
    fn slices(&self, work: &Work) -> Vec<Vec<Slice>> {
        match work {
            Work::Units { .. } => Vec::new(),
            Work::Blocks(blocks) => vec![blocks.iter().map(|id| self.whole(*id)).collect()],
            Work::Slices(inputs) => inputs.clone(),
        }
    }

    /// Rows of all inputs of new work, which must be the same ones.
    fn take_inputs(&mut self, key: WorkKey, work: &Work) -> Result<Content, Finding> {
        let mut contents = Vec::new();
        for (input, slices) in self.slices(work).iter().enumerate() {
            let mut content = Content::default();
            for slice in slices {
                content.append(&self.take_slice(key, input, *slice)?);
            }
            contents.push(content);
        }
        self.same_rows(key.0, contents)
    }

    /// What comes to all inputs of an operator alike.
    fn same_rows(&self, op: usize, contents: Vec<Content>) -> Result<Content, Finding> {
        let wanted = self.rows.inputs(op);
        ensure!(contents.len() == wanted, "protocol", "it has {wanted} inputs");
        let mut contents = contents.into_iter();
        let first = contents.next().unwrap_or_default();
        let differs = contents.find(|content| *content != first);
        ensure!(differs.is_none(), "I9", "{first:?} is put beside {differs:?}");
        Ok(first)
    }

    /// Rows that wait for `op`, as they are numbered there.
    fn take_slice(&mut self, key: WorkKey, input: usize, slice: Slice) -> Result<Content, Finding> {
        let (op, id) = (key.0, slice.block);
        let Some(book) = self.blocks.get_mut(&id) else {
            return Err(("I2", format!("{id} does not exist")));
        };
        let arrival = self.rows.arriving(book.producer, &book.content, Some(op));
        let Some((at, rows)) = arrival else {
            return Err(("I2", format!("{id} waits before another operator")));
        };
        ensure!(at == input, "I2", "{id} waits at input {at}");
        ensure!(book.place == Place::Queued, "I2", "{id} is {:?}", book.place);
        ensure!(book.taken == slice.first.0, "I3", "{} rows of {id} are taken", book.taken);
        let part = rows.part(slice.first.0, slice.rows.0);
        ensure!(part.rows() == slice.rows.0, "I9", "{id} does not have so many rows");
        book.taken += slice.rows.0;
        book.readers.push((key, book.content.part(slice.first.0, slice.rows.0)));
        // What a limit does not want of a block nobody else will.
        if book.taken == book.content.rows() || self.rows.limit(op).is_some() {
            book.place = Place::Input;
        }
        Ok(part)
    }

    /// Whether a later attempt works on the same rows, in blocks that exist.
    fn check_same_work(&mut self, key: WorkKey, work: &Work) -> Result<(), Finding> {
        if let Work::Units { .. } = work {
            let book = &self.works[&key];
            ensure!(book.work == *work, "I3", "the work was {:?} at its first attempt", book.work);
            return Ok(());
        }
        let mut contents = Vec::new();
        for (input, slices) in self.slices(work).iter().enumerate() {
            let mut content = Content::default();
            for slice in slices {
                content.append(&self.held_slice(key, input, *slice)?);
            }
            contents.push(content);
        }
        let input = self.same_rows(key.0, contents)?;
        let book = self.works.get_mut(&key).expect("because the caller found it there");
        ensure!(input == book.input, "I3", "the work was {:?} at its first attempt", book.input);
        book.work = work.clone();
        Ok(())
    }

    /// Rows that a piece of work has as its input, as they are numbered there.
    fn held_slice(&self, key: WorkKey, input: usize, slice: Slice) -> Result<Content, Finding> {
        let id = slice.block;
        let Some(book) = self.blocks.get(&id).filter(|book| book.place != Place::Useless) else {
            return Err(("I2", format!("{id} does not exist")));
        };
        let part = book.content.part(slice.first.0, slice.rows.0);
        let is_held = book.readers.iter().any(|(reader, held)| *reader == key && *held == part);
        ensure!(is_held, "I3", "{id} is no input of this work");
        match self.rows.arriving(book.producer, &part, Some(key.0)) {
            Some((at, rows)) if at == input => Ok(rows),
            _ => Err(("I2", format!("{id} waits at another input"))),
        }
    }

    fn check_attempt(&mut self, key: WorkKey, attempt: u32) -> Result<(), Finding> {
        let is_unwanted = self.is_unwanted(key.0);
        let book = self.works.get_mut(&key).expect("because it was noted just now");
        ensure!(!book.is_over, "I3", "the work is done");
        ensure!(!book.is_running, "I3", "another attempt at the work runs");
        if is_unwanted && attempt == 1 {
            // It was given up, and begins again for what was lost of its output.
            book.attempts = 1;
        }
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
        heap: Bytes,
    ) -> Result<(), Finding> {
        let OpKind::Actors(pool) = self.scenario.plan.ops()[op].kind else {
            ensure!(actor.is_none(), "protocol", "a stateless task on an actor");
            self.sent.insert((op, node));
            return self.take(node, op, heap);
        };
        let Some(book) = actor.and_then(|actor| self.actors.get(&actor)) else {
            return Err(("protocol", "there is no such actor".to_owned()));
        };
        ensure!(book.op == op && book.node == node, "protocol", "it is another actor");
        ensure!(book.is_ready, "protocol", "the actor is not ready");
        ensure!(book.failures < 2, "protocol", "the actor is broken");
        ensure!(heap >= book.heap, "protocol", "the actor was given {} of heap", book.heap);
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
        (node, actor, heap): (NodeId, Option<ActorId>, Bytes),
        (credit, remakes): (Bytes, Option<(u64, u64)>),
    ) {
        if let Some(actor) = actor.and_then(|actor| self.actors.get_mut(&actor)) {
            actor.tasks.insert(id);
        }
        let is_cancelled = false;
        let book = TaskBook { key, node, actor, credit, heap, is_cancelled, remakes };
        self.tasks.insert(id, book);
    }

    fn check_start_actor(
        &mut self,
        id: ActorId,
        op: OpId,
        node: NodeId,
        heap: Bytes,
    ) -> Result<(), Finding> {
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
        self.take(node, op, heap)?;
        self.sent.insert((op, node));
        let tasks = BTreeSet::new();
        self.actors.insert(id, ActorBook { op, node, heap, is_ready: false, failures: 0, tasks });
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
        self.give(actor.node, actor.op, actor.heap);
        Ok(())
    }

    fn check_emit(&mut self, id: BlockId, consumer: u32, at: OutputPlace) -> Result<(), Finding> {
        let Some(block) = self.blocks.get_mut(&id) else {
            return Err(("I2", "it does not exist".to_owned()));
        };
        let Some((_, rows)) = self.rows.arriving(block.producer, &block.content, None) else {
            return Err(("I2", "it is no output".to_owned()));
        };
        ensure!(block.place == Place::Queued && block.taken == 0, "I2", "it is {:?}", block.place);
        block.place = Place::Emitted;
        let (count, epoch) = (rows.rows(), block.epoch);
        ensure!(count == block.content.rows(), "I9", "it has rows that a limit holds back");
        self.check_place(&rows, at, epoch)?;
        self.check_taker(id, consumer, &rows, at)?;
        if self.takers.take_returned(&rows) {
            return Ok(());
        }
        let expected = self.output.prefix();
        if let Err(stretch) = self.output.add(&rows) {
            return Err(("I9", format!("rows {}..{} are out twice", stretch.first, stretch.end)));
        }
        let in_order = !self.is_output_in_order() || self.output.prefix() == expected + count;
        ensure!(in_order, "I9", "row {expected} is the next, not {:?}", rows.stretches());
        Ok(())
    }

    fn check_drop(&mut self, id: BlockId) -> Result<(), Finding> {
        let Some(block) = self.blocks.remove(&id) else {
            ensure!(self.doubled.remove(&id), "I2", "it does not exist");
            return Ok(());
        };
        let is_free = block.place == Place::Useless
            || self.is_stopped
            || self.is_left_over(&block)
            || (block.place != Place::Emitted && self.is_unwanted(block.producer));
        ensure!(is_free, "I2", "it is {:?}", block.place);
        for (key, part) in block.readers {
            self.note_given_up(key, block.producer, &part);
        }
        if let Some(node) = self.nodes.get_mut(&block.node) {
            node.store_used -= block.bytes;
        }
        Ok(())
    }

    /// Whether the inputs that are put side by side by `op` are as a failure says.
    fn rows_differ(&self, op: OpId, cause: FailCause) -> bool {
        let FailCause::RowsDiffer { ended, rows, longer, rows_longer, is_open } = cause else {
            return false;
        };
        let total = |input: u32| self.rows.total_of_input(op.0 as usize, input as usize);
        let is_known =
            if is_open { rows_longer.0 <= total(longer) } else { rows_longer.0 == total(longer) };
        is_known && rows.0 == total(ended) && rows < rows_longer
    }

    /// Whether actors fill all nodes that take new work and on which a task of `op` could run, or its
    /// own have no place beside the other operators since a node is gone.
    fn is_crowded_out(&self, op: OpId) -> bool {
        let op_at = op.0 as usize;
        if self.actors.values().any(|actor| actor.op == op_at) || !self.tasks.is_empty() {
            return false;
        }
        let are_gone = self.nodes.len() < self.scenario.nodes.len()
            || self.nodes.values().any(|node| node.is_draining);
        if matches!(self.scenario.plan.ops()[op_at].kind, OpKind::Actors(_)) {
            return are_gone;
        }
        let request = self.request(op_at);
        let is_open = |(id, node): &(&NodeId, &NodeBook)| {
            let mut beside = node.total.clone();
            for actor in self.actors.values().filter(|actor| actor.node == **id) {
                beside.debit(&self.request_with(actor.op, Bytes::ZERO));
            }
            !node.is_draining && beside.fits_without_heap(request)
        };
        !self.nodes.iter().any(|node| is_open(&node))
    }

    fn check_fail(&mut self, op: OpId, cause: FailCause) -> Result<(), Finding> {
        ensure!(self.failure.is_none(), "protocol", "the run failed before");
        ensure!(
            self.justified.contains(&cause)
                || self.rows_differ(op, cause)
                || cause == FailCause::NodesGone && self.is_crowded_out(op),
            "protocol",
            "nothing that happened is such a failure, but {:?}",
            self.justified
        );
        self.failure = Some(cause);
        Ok(())
    }

    /// Takes the slots and the heap of a task or actor of `op` at `node`.
    fn take(&mut self, node: NodeId, op: usize, heap: Bytes) -> Result<(), Finding> {
        self.heap_short += u64::from(heap < self.heap_due(op));
        let request = self.request_with(op, heap);
        let Some(book) = self.nodes.get_mut(&node) else {
            return Err(("protocol", "there is no such node".to_owned()));
        };
        ensure!(!book.is_draining, "protocol", "the node is draining");
        ensure!(book.free.fits(&request), "I1", "it needs {request}, {} is free", book.free);
        book.free.debit(&request);
        Ok(())
    }
}
