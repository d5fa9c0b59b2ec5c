"""Before a run: a configuration read as a plan, and what is said about it."""
