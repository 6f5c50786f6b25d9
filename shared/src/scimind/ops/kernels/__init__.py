"""Implementations of operators for one kind of device; importing a subpackage registers them."""
