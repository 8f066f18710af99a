"""The checks, one file a subject; see :mod:`unetzoo.conformance.check` for how to write one."""
