"""Runs of a plan and what comes of them: the only room that joins plan, run and observe."""
