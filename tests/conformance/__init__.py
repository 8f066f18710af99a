"""Tests of the conformance suite: planted defects that it must catch and sound controls that it must pass."""
