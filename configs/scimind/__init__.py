"""Configuration groups that every package shares."""
