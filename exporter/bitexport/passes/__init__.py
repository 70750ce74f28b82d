"""Passes: a graph becomes a plan.  pipeline.py is the order."""
