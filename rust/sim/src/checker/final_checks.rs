//! What must hold after every turn, and at the end.

use millstream_core::{Bytes, OpSnapshot, Snapshot, Time};

use crate::checker::actions::ensure;
use crate::checker::{Checker, Finding, Place, Violation};

impl Checker<'_> {
    /// Judges a run that says it is done.
    ///
    /// # Errors
    /// I3 or I9, if something is missing; I2, if something was left behind.
    pub fn judge_end(&self, now: Time) -> Result<(), Violation> {
        let checks = [self.check_nothing_left(), self.check_complete()];
        checks.into_iter().collect::<Result<(), Finding>>().map_err(|(invariant, what)| Violation {
            invariant,
            at: now,
            what,
        })
    }

    /// A failure that the events justify must be reported in the turn in which they come.
    pub(super) fn check_failure(&self) -> Result<(), Finding> {
        let is_silent = self.is_owed && self.failure.is_none() && !self.is_stopped;
        ensure!(!is_silent, "protocol", "the run goes on in spite of {:?}", self.justified);
        Ok(())
    }

    /// What is of no more use must be dropped in the turn in which it becomes so.
    pub(super) fn check_drops(&self) -> Result<(), Finding> {
        if self.is_stopped {
            return Ok(());
        }
        let left = self.blocks.iter().find(|(_, block)| block.place == Place::Useless);
        match left {
            Some((id, block)) => {
                Err(("I2", format!("{id} of operator {} is of no more use", block.producer)))
            }
            None => Ok(()),
        }
    }

    /// Compares the scheduler's account of itself with the books.
    pub(super) fn check_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Finding> {
        ensure!(
            snapshot.stale_events >= self.stale_events,
            "I7",
            "the count of stale events fell to {}",
            snapshot.stale_events
        );
        self.stale_events = snapshot.stale_events;
        self.check_nodes(snapshot)?;
        self.check_heap(snapshot)?;
        self.check_quarantine(snapshot)?;
        self.check_dropped(snapshot)?;
        if self.is_stopped {
            return Ok(());
        }
        (0..snapshot.ops.len()).try_for_each(|op| self.check_queue(op, &snapshot.ops))
    }

    fn check_nodes(&self, snapshot: &Snapshot) -> Result<(), Finding> {
        ensure!(snapshot.nodes.len() == self.nodes.len(), "I1", "the nodes differ");
        for (seen, (id, book)) in snapshot.nodes.iter().zip(&self.nodes) {
            let used = (
                book.total.cpu.saturating_sub(book.free.cpu),
                book.total.gpu.saturating_sub(book.free.gpu),
                book.store_used,
            );
            let claimed = (seen.cpu_used, seen.gpu_used, seen.store_used.0);
            ensure!(
                seen.node == *id && used == claimed,
                "I1",
                "{id} uses {used:?} (CPU, GPU, bytes), the scheduler's books say {claimed:?}"
            );
            let dealt = self.blocks.values().filter(|block| block.node == *id);
            let dealt = dealt.filter(|block| self.is_scatter(block.producer));
            let dealt: u64 = dealt.map(|block| block.bytes).sum();
            ensure!(
                seen.store_aside.0 <= dealt,
                "I5",
                "{} are set aside on {id}, where {dealt} B of exchanges lie",
                seen.store_aside
            );
            let there = self.tasks.values().filter(|task| task.node == *id);
            let credit: Bytes = there.map(|task| task.credit).sum();
            ensure!(
                credit <= seen.store_reserved,
                "I1",
                "tasks on {id} may put {credit} into its store, of which only {} are reserved",
                seen.store_reserved
            );
        }
        Ok(())
    }

    /// Compares what waits for an operator that works, there or before operators that blocks pass.
    fn check_queue(&self, op: usize, seen: &[OpSnapshot]) -> Result<(), Finding> {
        let waiting = self.blocks.values().filter(|block| block.place == Place::Queued);
        let waiting = waiting.filter(|block| self.rows.worker_after(block.producer) == Some(op));
        let (blocks, rows) = waiting.fold((0, 0), |(blocks, rows), block| {
            (blocks + 1, rows + block.content.rows() - block.taken)
        });
        let leads_here = |before: &usize| {
            self.rows.passes(*before) && self.rows.worker_after(*before) == Some(op)
        };
        let passing = (0..op).filter(leads_here);
        let claimed = passing.chain([op]).map(|op| (seen[op].queued_blocks, seen[op].queued_rows));
        let claimed = claimed.fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
        let seen = &seen[op];
        ensure!(
            self.rows.passes(op) || self.is_unwanted(op) || (blocks, rows) == claimed,
            "I2",
            "{blocks} blocks with {rows} rows wait for '{}', its snapshot says {claimed:?}",
            seen.name
        );
        let running = self.tasks.values().filter(|task| task.key.0 == op).count() as u64;
        let claimed = seen.tasks_running + seen.tasks_paused;
        ensure!(running == claimed, "I3", "'{}' has {running} tasks, not {claimed}", seen.name);
        Ok(())
    }

    fn check_nothing_left(&self) -> Result<(), Finding> {
        ensure!(self.tasks.is_empty(), "I3", "tasks are left: {:?}", self.tasks);
        ensure!(self.actors.is_empty(), "protocol", "actors are left: {:?}", self.actors);
        let block = self.blocks.keys().next();
        ensure!(block.is_none(), "I2", "{} blocks are left: {block:?} …", self.blocks.len());
        Ok(())
    }

    fn check_complete(&self) -> Result<(), Finding> {
        if self.is_stopped || self.failure.is_some() {
            return Ok(());
        }
        for (op, next) in self.units_next.iter().enumerate() {
            let units = self.scenario.unit_rows[op].len() as u64;
            let is_through = *next == units || self.is_unwanted(op);
            ensure!(is_through, "I3", "{next} of {units} units were read");
        }
        for ((op, first, _), work) in &self.works {
            let is_through = work.is_done || self.is_unwanted(*op);
            ensure!(is_through, "I3", "work {first} of operator {op} was never finished");
        }
        self.check_nothing_missing()?;
        self.check_all_committed()?;
        self.check_output()
    }

    fn check_output(&self) -> Result<(), Finding> {
        ensure!(!self.rows.must_fail(), "I9", "rows that had none beside them were left out");
        if self.scenario.is_split_equally() {
            return self.check_equal_output();
        }
        let total = self.rows.total();
        let (rows, first) = (self.output.rows(), self.output.prefix());
        if self.rows.is_dense() {
            ensure!(
                self.output.is_all(total),
                "I9",
                "{first} of {total} rows are out without a gap"
            );
        }
        ensure!(rows == total, "I9", "{rows} of {total} rows are out");
        Ok(())
    }
}
