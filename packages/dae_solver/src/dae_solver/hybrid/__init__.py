"""Trajectories from a learned operator, each with a bound of its error."""
