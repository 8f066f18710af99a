"""Blocks: tensor to tensor of the same spatial size."""
