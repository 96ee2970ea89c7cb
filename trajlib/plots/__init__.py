"""DataFrame in, figure out."""
