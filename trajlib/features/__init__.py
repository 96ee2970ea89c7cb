"""Predictors by feature set, recent traffic, wind, and targets."""
