"""Real flights from other formats into an archive."""
