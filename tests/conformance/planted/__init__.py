"""Deliberately broken networks, one file a subject, each registered with the check that must catch it."""
