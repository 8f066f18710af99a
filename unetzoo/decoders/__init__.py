"""Decoders: encoder features to decoded features, finest first."""
