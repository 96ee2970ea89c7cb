"""Models and baselines scored on the same held-out flights."""
