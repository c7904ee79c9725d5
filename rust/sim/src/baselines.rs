//! Other schedulers' policies on the published workloads, for comparison.
//!
//! Owns three: plain greed, a static split of the CPU slots, and the memory budget of Ray Data's
//! paper (arXiv 2501.12407). They see durations of finished tasks only, and run on a model of their
//! own, since they do not speak the core's protocol.

mod model;

use millstream_core::{Span, Time};

pub(crate) use crate::baselines::model::Stage;
use crate::baselines::model::{Model, Policy};

/// How long the other policies take. None: stuck for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Baselines {
    /// Downstream first, and whatever has a slot starts; sources leave the last CPU to the stages
    /// below, since those alone make room.
    pub greedy: Option<Span>,
    /// The best of all ways to divide the CPU slots between the stages once and for all.
    pub split: Option<Span>,
    /// The published policy.
    pub published: Option<Span>,
}

/// Runs `stages` with `slots` CPUs and GPUs within `blocks_max` blocks under each policy.
pub(crate) fn run(stages: &[Stage], slots: [usize; 2], blocks_max: usize) -> Baselines {
    let model = Model::new(stages.to_vec(), slots, blocks_max);
    let is_gpu: Vec<bool> = stages.iter().map(|stage| stage.is_gpu).collect();
    let splits = splits(&is_gpu, slots);
    Baselines {
        greedy: model.clone().run(&mut Greedy { cpus: slots[0] }),
        split: splits.into_iter().filter_map(|split| model.clone().run(&mut Split(split))).min(),
        published: model.clone().run(&mut Budget::new(slots, blocks_max)),
    }
}

struct Greedy {
    cpus: usize,
}

impl Policy for Greedy {
    fn admits(&mut self, model: &Model, stage: usize) -> bool {
        stage > 0 || model.progress[0].live + 1 < self.cpus || model.is_empty()
    }
}

/// At most so many tasks of each stage.
struct Split(Vec<usize>);

impl Policy for Split {
    fn admits(&mut self, model: &Model, stage: usize) -> bool {
        model.progress[stage].live < self.0[stage]
    }
}

/// All ways to divide the CPUs, at least one for each stage; a stage on GPUs has all of them.
fn splits(is_gpu: &[bool], slots: [usize; 2]) -> Vec<Vec<usize>> {
    let Some((first, rest)) = is_gpu.split_first() else { return vec![Vec::new()] };
    let others = rest.iter().filter(|is_gpu| !**is_gpu).count();
    let shares = match (first, others) {
        (true, _) => slots[1]..=slots[1],
        (false, 0) => slots[0]..=slots[0],
        (false, others) => 1..=slots[0].saturating_sub(others),
    };
    let with = |share: usize| {
        let taken = if *first { 0 } else { share };
        let below = splits(rest, [slots[0] - taken, slots[1]]);
        below.into_iter().map(move |below| [vec![share], below].concat())
    };
    shares.flat_map(with).collect()
}

/// A source task starts if its output fits what is left of a budget, which begins with all memory
/// and each second grows by what the stages below can take in that time one after the other.
struct Budget {
    slots: [usize; 2],
    blocks_max: f64,
    blocks: f64,
    /// Up to when it has grown.
    grown: Time,
}

impl Budget {
    fn new(slots: [usize; 2], blocks_max: usize) -> Self {
        let blocks_max = count(blocks_max);
        Self { slots, blocks_max, blocks: blocks_max, grown: Time::default() }
    }

    /// Seconds that the stages below need for the output of one source task. None: unknown yet.
    fn pipeline_s(&self, model: &Model) -> Option<f64> {
        let outputs = count(model.stages[0].blocks);
        let below = model.stages.iter().zip(&model.progress).skip(1);
        let spans = below.map(|(stage, progress)| {
            let mean = progress.busy.0.checked_div(progress.worked as u64)?;
            let slots = self.slots[usize::from(stage.is_gpu)];
            Some(crate::published::seconds(Span(mean)) * outputs / count(slots))
        });
        spans.sum()
    }

    fn grow(&mut self, model: &Model) {
        while self.grown.after(TICK) <= model.now {
            self.grown = self.grown.after(TICK);
            if let Some(pipeline_s) = self.pipeline_s(model) {
                let blocks = count(model.stages[0].blocks) / pipeline_s;
                self.blocks = (self.blocks + blocks).min(self.blocks_max);
            }
        }
    }
}

impl Policy for Budget {
    fn admits(&mut self, model: &Model, stage: usize) -> bool {
        self.grow(model);
        let output = count(model.stages[0].blocks);
        if stage > 0 {
            return true;
        }
        let fits = output <= self.blocks;
        self.blocks -= if fits { output } else { 0.0 };
        fits
    }

    fn wakeup(&self, now: Time) -> Option<Time> {
        Some(Time((now.0 / TICK.0 + 1) * TICK.0))
    }
}

#[expect(clippy::cast_precision_loss, reason = "slots and blocks are few")]
fn count(number: usize) -> f64 {
    number as f64
}

const TICK: Span = Span(1_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_divided_in_all_ways() {
        let all = splits(&[false, true, false], [3, 4]);
        assert_eq!(all, [[1, 4, 2], [2, 4, 1]]);
    }

    #[test]
    fn one_policy_waits_where_another_does_not() {
        let stage =
            |items, blocks| Stage { is_gpu: false, spans: vec![Span(1_000_000); items], blocks };
        let found = run(&[stage(4, 4), stage(16, 1)], [2, 0], 4);
        assert_eq!(found.split, Some(Span(17_000_000)), "one slot for each: 1 + 16 s");
        assert!(found.greedy.is_some_and(|span| span >= Span(10_000_000)), "{found:?}");
        assert!(found.published.is_some_and(|span| span >= Span(10_000_000)), "{found:?}");
    }
}
