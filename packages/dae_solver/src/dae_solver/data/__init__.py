"""Training data, made by the classical engine."""
