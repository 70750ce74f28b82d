"""Checkpoints: containers opened, tensors listed and read a block of rows at a time."""
