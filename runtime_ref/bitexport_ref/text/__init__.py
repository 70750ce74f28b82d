"""Text: tokens of it, it of tokens, and what a conversation becomes (TEXT.md)."""
