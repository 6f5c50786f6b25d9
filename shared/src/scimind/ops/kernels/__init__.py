"""Implementations of operators for one kind of device."""
