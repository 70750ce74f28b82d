"""How well a bundle predicts a text: the same number here, on four cores, or on a cluster."""
