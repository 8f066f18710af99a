"""Heads: decoded features to logits."""
