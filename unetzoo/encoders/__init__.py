"""Encoders: image to features, finest first."""
