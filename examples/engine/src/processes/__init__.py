"""Runs jobs of the job engine."""
