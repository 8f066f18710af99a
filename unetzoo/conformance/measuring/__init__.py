"""What checks measure with: global state, traces, paths, reach, rounding."""
