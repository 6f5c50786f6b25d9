"""The learned part: trajectories of a window of time from the state at its start."""
