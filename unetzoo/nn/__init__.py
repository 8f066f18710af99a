"""Dimension-generic layers: `ndim` picks the 2-D or the 3-D form once, at construction."""
