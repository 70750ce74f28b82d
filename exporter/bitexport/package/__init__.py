"""Artefacts: one file per kind."""
