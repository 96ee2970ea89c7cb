"""What a model is given, by when it is known, and what it predicts."""
