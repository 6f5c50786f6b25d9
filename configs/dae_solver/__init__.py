"""Configuration files of the dae_solver commands."""
