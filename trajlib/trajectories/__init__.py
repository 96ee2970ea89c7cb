"""Flights made comparable: progress, normalisation, dispersion, correlations, events."""
