"""Configuration files of the biomol commands."""
