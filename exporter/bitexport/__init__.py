"""Lower a ternary checkpoint to a bundle, and prove that every core computes the same bits."""

from __future__ import annotations

__version__ = "0.1.0"
