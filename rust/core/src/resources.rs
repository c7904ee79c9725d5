//! What a task asks for and what a node has: CPU, GPU and custom resources, and heap bytes.
//!
//! Owns the arithmetic of them. The bytes of the object store are the ledger's.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::units::{Bytes, Slots};

/// Amounts of CPU, GPU and custom resources, and of heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Resources {
    /// CPUs.
    pub cpu: Slots,
    /// GPUs.
    pub gpu: Slots,
    /// Custom resources by name. A name that is absent counts as zero.
    pub custom: BTreeMap<String, Slots>,
    /// Bytes of memory outside the object store. A node without any has not said what it has, and
    /// what it has is not watched.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Bytes::is_zero"))]
    pub heap: Bytes,
}

impl Resources {
    /// Only CPUs.
    #[must_use]
    pub const fn cpu(cpu: Slots) -> Self {
        Self { cpu, gpu: Slots::ZERO, custom: BTreeMap::new(), heap: Bytes::ZERO }
    }

    /// Only GPUs.
    #[must_use]
    pub const fn gpu(gpu: Slots) -> Self {
        Self { cpu: Slots::ZERO, gpu, custom: BTreeMap::new(), heap: Bytes::ZERO }
    }

    /// Whether every amount is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.heap == Bytes::ZERO && self.named().all(|(_, amount)| amount == Slots::ZERO)
    }

    /// Whether `request` fits into these resources.
    #[must_use]
    pub fn fits(&self, request: &Self) -> bool {
        self.heap >= request.heap && self.fits_without_heap(request)
    }

    /// Whether all of `request`, except its heap, fits.
    #[must_use]
    pub fn fits_without_heap(&self, request: &Self) -> bool {
        self.cpu >= request.cpu
            && self.gpu >= request.gpu
            && request.custom.iter().all(|(name, wanted)| self.amount(name) >= *wanted)
    }

    /// Whether `one` and `other` fit together.
    #[must_use]
    pub fn fits_both(&self, one: &Self, other: &Self) -> bool {
        let mut both = one.clone();
        both.credit(other);
        self.fits(&both)
    }

    /// How many times `request` fits, counted up to `most`.
    #[must_use]
    pub fn copies(&self, request: &Self, most: u64) -> u64 {
        let custom = request.custom.iter().map(|(name, wanted)| (self.amount(name), *wanted));
        [(self.cpu, request.cpu), (self.gpu, request.gpu)]
            .into_iter()
            .chain(custom)
            .filter(|(_, wanted)| *wanted > Slots::ZERO)
            .map(|(has, wanted)| has.0 / wanted.0)
            .chain(self.heap.0.checked_div(request.heap.0))
            .fold(most, u64::min)
    }

    /// Whether both ask for some of the same resource.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        (self.heap > Bytes::ZERO && other.heap > Bytes::ZERO) || self.shares_slots(other)
    }

    /// Whether both ask for slots of the same kind.
    #[must_use]
    pub fn shares_slots(&self, other: &Self) -> bool {
        let both = |one: Slots, other: Slots| one > Slots::ZERO && other > Slots::ZERO;
        both(self.cpu, other.cpu)
            || both(self.gpu, other.gpu)
            || self.custom.iter().any(|(name, amount)| both(*amount, other.amount(name)))
    }

    /// Adds `other`.
    pub fn credit(&mut self, other: &Self) {
        self.cpu += other.cpu;
        self.gpu += other.gpu;
        self.heap += other.heap;
        for (name, amount) in &other.custom {
            *self.custom.entry(name.clone()).or_default() += *amount;
        }
    }

    /// Takes `other` away.
    ///
    /// # Panics
    /// If it does not fit, which the caller has checked.
    pub fn debit(&mut self, other: &Self) {
        self.cpu -= other.cpu;
        self.gpu -= other.gpu;
        self.heap -= other.heap;
        for (name, amount) in other.custom.iter().filter(|(_, amount)| **amount > Slots::ZERO) {
            let held = self.custom.get_mut(name).expect("because what fits is held");
            *held -= *amount;
        }
    }

    /// What these resources have beyond `other`, of each amount that they have at all.
    #[must_use]
    pub(crate) fn beyond(&self, other: &Self) -> Self {
        let custom = self
            .custom
            .iter()
            .map(|(name, amount)| (name.clone(), amount.saturating_sub(other.amount(name))));
        Self {
            cpu: self.cpu.saturating_sub(other.cpu),
            gpu: self.gpu.saturating_sub(other.gpu),
            custom: custom.collect(),
            heap: self.heap.saturating_sub(other.heap),
        }
    }

    /// Of each amount of `other`, as much as is here.
    #[must_use]
    pub(crate) fn at_most(&self, other: &Self) -> Self {
        let custom = other.custom.iter();
        let custom = custom.map(|(name, amount)| (name.clone(), self.amount(name).min(*amount)));
        Self {
            cpu: self.cpu.min(other.cpu),
            gpu: self.gpu.min(other.gpu),
            custom: custom.collect(),
            heap: self.heap.min(other.heap),
        }
    }

    /// This request `count` times.
    #[must_use]
    pub fn times(&self, count: u64) -> Self {
        Self {
            cpu: self.cpu.times(count),
            gpu: self.gpu.times(count),
            custom: self.custom.iter().map(|(name, a)| (name.clone(), a.times(count))).collect(),
            heap: self.heap.times(count),
        }
    }

    /// The amount of the resource called `name` (`"CPU"`, `"GPU"` or a custom name).
    #[must_use]
    pub fn amount(&self, name: &str) -> Slots {
        match name {
            "CPU" => self.cpu,
            "GPU" => self.gpu,
            custom => self.custom.get(custom).copied().unwrap_or_default(),
        }
    }

    /// Each resource with its amount, in a fixed order.
    pub fn named(&self) -> impl Iterator<Item = (&str, Slots)> {
        [("CPU", self.cpu), ("GPU", self.gpu)]
            .into_iter()
            .chain(self.custom.iter().map(|(name, amount)| (name.as_str(), *amount)))
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self
            .named()
            .filter(|(_, amount)| *amount > Slots::ZERO)
            .map(|(name, amount)| alloc::format!("{amount} {name}"))
            .chain((self.heap > Bytes::ZERO).then(|| alloc::format!("{} of heap", self.heap)))
            .collect();
        if parts.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn any_resources() -> impl Strategy<Value = Resources> {
        let custom = proptest::collection::btree_map("[ab]", 0u64..50_000, 0..2);
        (0u64..100_000, 0u64..100_000, custom, 0u64..9_000).prop_map(|(cpu, gpu, custom, heap)| {
            Resources {
                cpu: Slots(cpu),
                gpu: Slots(gpu),
                custom: custom.into_iter().map(|(name, a)| (name, Slots(a))).collect(),
                heap: Bytes(heap),
            }
        })
    }

    proptest! {
        #[test]
        fn credit_undoes_debit(
            (held, request) in (any_resources(), any_resources())
                .prop_map(|(a, b)| { let mut sum = a; sum.credit(&b); (sum, b) }),
        ) {
            let mut account = held.clone();
            account.debit(&request);
            account.credit(&request);
            for (name, amount) in held.named() {
                prop_assert_eq!(account.amount(name), amount);
            }
            prop_assert_eq!(account.heap, held.heap);
        }

        #[test]
        fn copies_is_the_largest_multiple_that_fits(held in any_resources(), request in any_resources()) {
            let count = held.copies(&request, 50);
            prop_assert!(held.fits(&request.times(count)) || count == 0);
            prop_assert!(count == 50 || !held.fits(&request.times(count + 1)));
        }
    }

    #[test]
    fn a_request_prints_as_a_sentence_part() {
        let request = Resources { cpu: Slots(5_000), gpu: Slots::whole(1), ..Resources::default() };
        assert_eq!(request.to_string(), "0.5 CPU, 1 GPU");
        let request = Resources { heap: Bytes(3 << 30), ..Resources::cpu(Slots::whole(1)) };
        assert_eq!(request.to_string(), "1 CPU, 3.0 GiB of heap");
        assert_eq!(Resources::default().to_string(), "nothing");
    }
}
