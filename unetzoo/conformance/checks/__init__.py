"""The checks, one file a subject; see `check` for how to write one."""
