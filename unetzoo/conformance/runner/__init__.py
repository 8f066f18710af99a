"""Runs the checks on a network, in this process or in another."""
