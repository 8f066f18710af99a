"""Measuring a network and deciding how it is tiled."""
