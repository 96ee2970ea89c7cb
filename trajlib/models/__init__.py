"""Estimators, their training and tuning, prediction intervals, saved models, inference."""
