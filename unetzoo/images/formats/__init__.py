"""One format a file: each opens a file as an `Image`."""
