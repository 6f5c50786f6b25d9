"""Configurations of the commands: keyword-only dataclasses with units and reasons."""
