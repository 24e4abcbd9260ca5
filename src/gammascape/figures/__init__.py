"""Figures and the page that shows them: tables in, altair charts out, files written by `style.save`."""
