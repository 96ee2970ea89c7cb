"""Predict aircraft trajectories from an archive too large for memory."""
