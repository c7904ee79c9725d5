//! The numbers of the scheduler, each with its own type.
//!
//! Owns identifiers, quantities and time. Knows nothing of what they are used for.

use core::fmt;
use core::ops::{Add, AddAssign, Sub, SubAssign};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
        pub struct $name(pub u64);

        impl $name {
            /// Nothing of it.
            pub const ZERO: Self = Self(0);

            /// The difference, or zero where `other` is larger.
            #[must_use]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// This quantity `count` times, held at the largest number.
            #[must_use]
            pub const fn times(self, count: u64) -> Self {
                Self(self.0.saturating_mul(count))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(
                    self.0
                        .checked_sub(other.0)
                        .expect("because an account is never debited below zero"),
                )
            }
        }

        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                *self = *self - other;
            }
        }

        impl core::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self::ZERO, Add::add)
            }
        }
    };
}

quantity! {
    /// Bytes of object store or of heap.
    Bytes
}
quantity! {
    /// Rows of a table.
    Rows
}
quantity! {
    /// A share of a CPU, GPU or custom resource, in 1/10000 (Ray's own unit).
    Slots
}
quantity! {
    /// A span of time in microseconds.
    Span
}

impl Slots {
    /// The number of shares in one whole CPU or GPU.
    pub const PER_UNIT: u64 = 10_000;

    /// `count` whole CPUs or GPUs.
    #[must_use]
    pub const fn whole(count: u64) -> Self {
        Self(count * Self::PER_UNIT)
    }
}

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / Self::PER_UNIT, self.0 % Self::PER_UNIT);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let digits = alloc::format!("{part:04}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl Bytes {
    /// Whether there are none.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const STEPS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        for (unit, size) in STEPS {
            if self.0 >= size {
                return write!(f, "{}.{} {unit}", self.0 / size, self.0 % size * 10 / size);
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// A moment on the driver's clock, in microseconds since a start that the driver chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Time(pub u64);

impl Time {
    /// The span since `earlier`, or zero where `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// The moment `span` after this one.
    #[must_use]
    pub const fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident($inner:ty), $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }
    };
}

identifier! {
    /// An operator: its position in the plan.
    OpId(u32), "op"
}
identifier! {
    /// An epoch: as many units of each source as the plan's configuration says, in their order.
    Epoch(u32), "epoch"
}
impl Default for Epoch {
    /// The first one.
    fn default() -> Self {
        Self(0)
    }
}
identifier! {
    /// A node: numbered by the driver, never used again after the node is lost.
    NodeId(u32), "node"
}
identifier! {
    /// A block: numbered by the driver as blocks arrive, never used again.
    BlockId(u64), "block"
}
identifier! {
    /// One attempt of a task: numbered by the core, never used again, so that a late event of a
    /// dead attempt is recognised.
    TaskId(u64), "task"
}
identifier! {
    /// An actor: numbered by the core, never used again.
    ActorId(u64), "actor"
}

macro_rules! table_key {
    ($name:ident($inner:ty)) => {
        impl crate::table::Number for $name {
            fn number(self) -> u64 {
                self.0.into()
            }

            fn of(number: u64) -> Self {
                Self(<$inner>::try_from(number).expect("because it was the number of one"))
            }
        }
    };
}

table_key!(NodeId(u32));
table_key!(BlockId(u64));
table_key!(TaskId(u64));

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn slots_print_as_people_write_them() {
        assert_eq!(Slots::whole(3).to_string(), "3");
        assert_eq!(Slots(2_500).to_string(), "0.25");
    }

    #[test]
    fn bytes_print_in_binary_units() {
        assert_eq!(Bytes(17).to_string(), "17 B");
        assert_eq!(Bytes(1_572_864).to_string(), "1.5 MiB");
    }

    #[test]
    #[should_panic(expected = "never debited below zero")]
    fn an_account_cannot_go_negative() {
        let _ = Bytes(1) - Bytes(2);
    }
}
