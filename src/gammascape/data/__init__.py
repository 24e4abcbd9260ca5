"""Datasets and online streams."""
