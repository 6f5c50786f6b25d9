"""Solvers side by side: error, cost, training, and size of the system."""
