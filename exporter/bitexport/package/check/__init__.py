"""What app stores, loaders and linkers ask of an artefact, checked without a network."""
