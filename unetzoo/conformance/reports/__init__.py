"""Results of a run, and their renderings."""
