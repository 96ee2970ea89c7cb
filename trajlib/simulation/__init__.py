"""Simulated flights and the ground truth of what caused them."""
