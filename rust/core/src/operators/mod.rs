//! What each kind of operator means: what its tasks take, what passes it without one, what it wants of
//! the others, and when it is through.
//!
//! One file a kind. Knows no nodes, slots or stores: where and when things run is for the policies.

pub(crate) mod exchange;
pub(crate) mod limit;
pub(crate) mod source;
pub(crate) mod split;
