"""What runs a plan: driver, backends and the worker body."""
