//! The object store of a node: what lies there, and what had to go to disk.

/// The object store of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// What fits.
    pub bytes_max: u64,
    /// What is there.
    pub bytes: u64,
    /// The most that was there.
    pub bytes_peak: u64,
    /// What is there of attempts that are known to have died, and has not been reported. It lies in
    /// room that was promised to the next attempt by then.
    pub bytes_unknown: u64,
    /// The most that was there beside that.
    pub bytes_known_peak: u64,
    /// What had to be written to disk since it did not fit.
    pub bytes_spilled: u64,
}

impl Store {
    pub(super) fn put(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.bytes_peak = self.bytes_peak.max(self.bytes);
        self.bytes_known_peak = self.bytes_known_peak.max(self.bytes - self.bytes_unknown);
        self.bytes_spilled += bytes.min(self.bytes.saturating_sub(self.bytes_max));
    }

    pub(super) fn remove(&mut self, bytes: u64) {
        self.bytes -= bytes;
    }
}
