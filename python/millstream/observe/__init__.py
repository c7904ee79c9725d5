"""What people see of a run: plan, progress, statistics and what holds it. Reads, never decides."""
