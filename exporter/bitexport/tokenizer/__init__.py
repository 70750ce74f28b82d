"""Tokenizers: text to tokens and back, on this side of the cable."""
