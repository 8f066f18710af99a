"""The backends that come with unetzoo, one a file."""
