"""Advice from the tables of a study: gamma and eta to use, what that gains, how to carry it, what to do next."""
