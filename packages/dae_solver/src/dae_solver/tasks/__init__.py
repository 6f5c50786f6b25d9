"""Benchmarks of solvers on scenarios with tight references, each with its baselines."""
