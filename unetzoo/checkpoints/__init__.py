"""Loading, renaming and saving weights."""
