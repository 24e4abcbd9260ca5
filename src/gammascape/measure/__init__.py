"""Observables of networks in a pack, taken during or at the end of a run."""
