"""Grids of runs, on one machine or many."""
