"""Annotations of the product are checked while the tests run."""

from __future__ import annotations

import jaxtyping
import numpy as np
import pytest

import sampled_checks
from dae_solver.metrics import share_above


def test_a_wrong_shape_is_found_at_first_and_later() -> None:
    def call(shape: tuple[int, ...], times: int) -> None:
        for _ in range(times):
            share_above(np.zeros(shape), 1.0)

    for before in (1, sampled_checks.FIRST + 1):
        call((3,), before)
        with pytest.raises(jaxtyping.TypeCheckError):
            call((3, 1), sampled_checks.EVERY)
