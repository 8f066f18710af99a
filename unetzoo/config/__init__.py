"""Configs: what a model is made of, read from YAML, extended, overridden and validated with every mistake at once."""
