"""Annotations of the product are checked while the tests run."""

from __future__ import annotations

import jaxtyping
import numpy as np
import pytest

import sampled_checks
from dae_solver.metrics import share_above


def test_a_wrong_shape_is_found_at_first_and_later() -> None:
    right = np.zeros(3)
    for calls in (1, sampled_checks.FIRST + 1):
        for _ in range(calls):
            share_above(right, 1.0)
        with pytest.raises(jaxtyping.TypeCheckError):
            for _ in range(sampled_checks.EVERY):
                share_above(np.zeros((3, 1)), 1.0)
