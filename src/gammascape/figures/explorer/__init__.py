"""The explorer: a page with the interactive plane of a study, and the curves of its networks."""
