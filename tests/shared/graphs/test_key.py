"""The key of a graph changes with everything that the graph depends on, and with nothing else."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from scimind.graphs import Unkeyable, graph_key

HELPER = """
SCALE = 2.0
def scaled(x):
    return x * SCALE
"""
MODEL = """
import numpy as np
from mindspore import Parameter, Tensor, nn
import helper_of_graph_key
from helper_of_graph_key import scaled
from scimind.nn import Linear
from scimind.ops import softmax

class Model(nn.Cell):
    def __init__(self, dim=4, factor=3.0, rate=None):
        super().__init__()
        self.linear = Linear(dim, dim, rng=np.random.default_rng(0))
        self.factor = factor
        self.table = Tensor(np.arange(3, dtype=np.float32))
        self.rate = rate

    def construct(self, x):
        return softmax(scaled(self.linear(x)) * self.factor) + self.table.sum()
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Write the two modules, with changes, and import them afresh."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(helper: str = HELPER, model: str = MODEL) -> Any:
        (tmp_path / "helper_of_graph_key.py").write_text(helper)
        (tmp_path / "model_of_graph_key.py").write_text(model)
        for name in ("helper_of_graph_key", "model_of_graph_key"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("model_of_graph_key")

    return load


def _key(module: ModuleType, *, shape: tuple[int, ...] = (2, 4), **settings: Any) -> str:
    return graph_key(module.Model(**settings), "construct", (np.zeros(shape, np.float32),))


def test_equal_cells_have_one_key(modules: Callable[..., Any]) -> None:
    assert _key(modules()) == _key(modules())


def test_values_of_parameters_and_inputs_do_not_matter(modules: Callable[..., Any]) -> None:
    cell = modules().Model()
    before = graph_key(cell, "construct", (np.zeros((2, 4), np.float32),))
    weight = cell.linear.weight
    weight.set_data(Tensor(np.ones(weight.shape, np.float32)))
    assert graph_key(cell, "construct", (np.ones((2, 4), np.float32),)) == before


def test_running_a_cell_keeps_its_key(modules: Callable[..., Any]) -> None:
    cell = modules().Model()
    x = Tensor(np.zeros((2, 4), np.float32))
    before = graph_key(cell, "construct", (x,))
    cell(x)
    ms.value_and_grad(cell, None, cell.trainable_params())(x)
    assert graph_key(cell, "construct", (x,)) == before


@pytest.mark.parametrize(
    "change",
    [
        {"helper": HELPER.replace("2.0", "2.5")},
        {"helper": HELPER.replace("x *", "-x *")},
        {"model": MODEL.replace("softmax(scaled", "(scaled")},
        {"model": MODEL.replace("arange(3", "arange(4")},
    ],
)
def test_sources_and_constants_change_it(
    modules: Callable[..., Any], change: dict[str, str]
) -> None:
    before = _key(modules())
    assert _key(modules(**change)) != before


@pytest.mark.parametrize(
    "settings",
    [{"shape": (3, 4)}, {"factor": 3.5}, {"factor": 3}, {"rate": 0.1}, {"rate": (1, 2)}],
)
def test_shapes_and_attributes_change_it(
    modules: Callable[..., Any], settings: dict[str, Any]
) -> None:
    module = modules()
    assert _key(module, **settings) != _key(module)


def test_dtypes_modes_and_methods_change_it(modules: Callable[..., Any]) -> None:
    cell = modules().Model()
    x = np.zeros((2, 4), np.float32)
    keys = {graph_key(cell, "construct", (x,)), graph_key(cell, "other", (x,))}
    keys.add(graph_key(cell, "construct", (x.astype(np.float16),)))
    keys.add(graph_key(cell, "construct", (x, "training")))
    cell.set_train(not cell.training)
    keys.add(graph_key(cell, "construct", (x,)))
    cell.linear.weight.requires_grad = False
    keys.add(graph_key(cell, "construct", (x,)))
    assert len(keys) == 6


def test_a_replaced_global_changes_it(
    modules: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = modules()
    before = _key(module)
    with monkeypatch.context() as patch:
        patch.setattr(module.helper_of_graph_key, "SCALE", 7.0)
        assert _key(module) != before
    with monkeypatch.context() as patch:
        patch.setattr(module, "scaled", lambda x: x)
        assert _key(module) != before
    assert _key(module) == before


@pytest.mark.parametrize("name", ["SCALE", "_SCALE"])
def test_settings_that_a_script_keeps_in_globals_change_it(
    modules: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    module = modules(HELPER.replace("SCALE", f'{name}["x"]').replace(f'{name}["x"] =', f"{name} ="))
    helper = module.helper_of_graph_key
    keys = set()
    for value in (2.0, 3.0):
        monkeypatch.setattr(helper, name, {"x": value})
        keys.add(_key(module))
    for value in (2.0, 3.0):
        monkeypatch.setattr(helper, name, argparse.Namespace(x=value))
        keys.add(_key(module))
    assert len(keys) == 4


def test_a_global_that_cannot_be_told_is_not_keyed(
    modules: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = modules()
    monkeypatch.setattr(module.helper_of_graph_key, "SCALE", itertools.count())
    with pytest.raises(Unkeyable, match=r"itertools\.count"):
        _key(module)


def test_plain_formulations_change_it(modules: Callable[..., Any]) -> None:
    from scimind.ops.registry import plain_formulations

    module = modules()
    before = _key(module)
    with plain_formulations():
        assert _key(module) != before


def test_kernels_that_are_not_there_change_it(
    modules: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scimind.ops.kernels import native

    module = modules()
    before = _key(module)
    if not any(native.STATE.loaded.values()):
        pytest.skip("no compiler, and so no kernels")
    monkeypatch.setattr(native.STATE, "loaded", dict.fromkeys(native.STATE.loaded))
    assert _key(module) != before


def test_precision_changes_it(modules: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    of_device = sys.modules["scimind.device.setup"]  # the package has a function of this name
    runtime = of_device._runtime
    module = modules()
    before = _key(module)
    half = dataclasses.replace(
        runtime, precision=dataclasses.replace(runtime.precision, compute="float16")
    )
    monkeypatch.setattr(of_device, "_runtime", half)
    assert _key(module) != before


class _Closed(nn.Cell):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.weight = Parameter(Tensor(np.ones(2, np.float32)), "weight")
        self.held = value

    def construct(self, x: Tensor) -> Tensor:
        return ops.mul(x, self.weight)


def test_what_cannot_be_told_is_not_keyed() -> None:
    cell = _Closed(itertools.count())
    with pytest.raises(Unkeyable, match=r"itertools\.count"):
        graph_key(cell, "construct", (np.zeros(2, np.float32),))


def test_parameters_that_mindspore_would_not_restore_are_not_keyed() -> None:
    other = _Closed(None)

    def reaches(x: Tensor) -> Tensor:
        return other(x)

    with pytest.raises(Unkeyable, match="weight is not one of the cell's own"):
        graph_key(_Closed(reaches), "construct", (np.zeros(2, np.float32),))


def test_two_parameters_of_one_name_are_not_keyed() -> None:
    cell = _Closed(Parameter(Tensor(np.ones(2, np.float32)), "other"))
    cell.held.name = "weight"
    with pytest.raises(Unkeyable, match="one name"):
        graph_key(cell, "construct", (np.zeros(2, np.float32),))
