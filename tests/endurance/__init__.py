"""Stress tests of runs and files that take minutes to hours; continuous integration runs a small part of each."""
