//! The extension module `millstream._core`.
