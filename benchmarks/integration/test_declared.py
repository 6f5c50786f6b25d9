"""Tests of the declared versions: those that every declared operator gets."""

import importlib

import pytest
from tests.shared.ops import test_declared as generated

SMOOTH = ("rope", "swiglu", "selected_attention")
ALL = (*SMOOTH, "paged_attention", "latent_attention")
for folder in ALL:
    importlib.import_module(f"benchmarks.integration.{folder}.declared")


@pytest.mark.parametrize("name", ALL)
def test_values(name):
    generated.test_kernel_is_the_plain_formulation_in_float64(name=f"demo_{name}")
    generated.test_compiled_call_has_the_bits_of_the_eager_one(name=f"demo_{name}")


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients(name):
    generated.test_gradients_are_those_of_the_plain_formulation_and_of_differences(
        name=f"demo_{name}"
    )
