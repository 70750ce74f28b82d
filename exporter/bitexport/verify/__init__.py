"""Verification: what the reference computes, what every core computed, and where they part."""
