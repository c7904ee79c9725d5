//! The millstream scheduler on a virtual clock.
