"""The oracle: computes every op output of an exported model to the last bit, slowly and plainly."""
