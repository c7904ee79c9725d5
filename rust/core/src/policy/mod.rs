//! The policies: questions that have a best answer rather than a right one.
//!
//! Each reads the state and answers; none acts. What is asked, in the order of a turn: [`scaling`] how many
//! actors to start, [`ranking`] whose turn it is, [`granularity`] how much one task takes, as its kind has it
//! ([`operators`](crate::operators)), [`admission`] whether it may start and put out more, [`lookahead`]
//! whether there will be room when it ends, at the pace that [`flow`] tells, or whether that no longer
//! counts, since the end is near ([`tail`]), [`placement`] where ([`seating`] beside other runs), and how
//! much [`heap`] is held for it there.
//!
//! [`source`](crate::operators::source) says how many units are listed, and
//! [`limit`](crate::operators::limit) whether anyone wants more, since only such operators make one ask.

pub(crate) mod admission;
pub(crate) mod division;
pub(crate) mod flow;
pub(crate) mod granularity;
pub(crate) mod heap;
pub(crate) mod lookahead;
pub(crate) mod placement;
pub(crate) mod ranking;
pub(crate) mod scaling;
pub(crate) mod seating;
pub(crate) mod tail;
