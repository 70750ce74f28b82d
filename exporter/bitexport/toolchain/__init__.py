"""Compile for a target, and start a program the way the target says."""
