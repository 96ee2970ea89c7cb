"""Splits, errors and skill, baselines, bootstrap intervals, experiments and importance."""
