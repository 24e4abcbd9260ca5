"""Observables of networks in a pack, measured during or at the end of a run."""
