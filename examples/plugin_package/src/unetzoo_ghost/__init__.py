"""Ghost blocks for unetzoo (Han et al., CVPR 2020); the entry points in pyproject.toml name the parts."""
