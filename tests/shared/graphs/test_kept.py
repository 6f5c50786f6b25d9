"""Graphs restored in another process: the same numbers without compiling, or a compilation."""

from __future__ import annotations

import functools
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scimind.device.compile_cache import cache_root

SCRIPT = """
import json, logging, sys
import numpy as np
import mindspore as ms
from mindspore import Parameter, Tensor, nn
from mindspore.ops import constexpr
from scimind import device, ops
from scimind.config.training import OptimizerConfig
from scimind.nn import Linear
from scimind.train import make_train_step

logging.basicConfig(level=logging.INFO)
device.setup(threads=1)
@constexpr
def note(name):
    print("TRACED", name)
    return 1.0

class Net(nn.Cell):
    def __init__(self, width):
        super().__init__()
        rng = np.random.default_rng(0)
        self.first = Linear(3, width, activation="gelu", rng=rng)
        self.second = Linear(width, 1, rng=rng)
        self.frozen = Parameter(Tensor(np.full(1, 0.25, np.float32)), "frozen", requires_grad=False)
    def construct(self, x):
        return self.second(self.first(x)) * note("net") + self.frozen

class Loss(nn.Cell):
    metric_names = ()
    def __init__(self, network):
        super().__init__()
        self.network = network
    def construct(self, key, x, y):
        loss = ((self.network(x) - y) ** 2).mean()
        return loss, ms.ops.stack((loss,))

width, shapes = int(sys.argv[1]), [int(n) for n in sys.argv[2].split(",")]
network = Net(width)
step = make_train_step(Loss(network), OptimizerConfig(learning_rate=0.05))
rng = np.random.default_rng(1)
losses = []
for i in range(2 * len(shapes)):
    x = rng.normal(size=(shapes[i % len(shapes)], 3)).astype(np.float32)
    outcome = step(np.array([1, i], np.int32), 0.05, x, x.sum(1, keepdims=True))
    losses.append(outcome.loss.asnumpy().tobytes().hex())

@ms.jit
def outside(x):
    return x + note("outside")

outside(Tensor(np.ones(2, np.float32)))
weights = {n: p.asnumpy().tobytes().hex() for n, p in step.named_parameters().items()}
print(json.dumps({"losses": losses, "weights": weights, "chosen": ops.chosen()}))
"""


def _limit(file_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))


class _Runs:
    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.script = folder / "train_small.py"
        self.script.write_text(SCRIPT)
        self.cache.mkdir()
        if (cache_root() / "kernels").is_dir():  # compiling them takes half a minute
            shutil.copytree(cache_root() / "kernels", self.cache / "kernels")

    def __call__(
        self, width: int = 8, shapes: str = "4,5", file_bytes: int = 0, **variables: str
    ) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, str(self.script), str(width), shapes],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.cache.parent,
            env={**os.environ, "SCIMIND_CACHE": str(self.cache), **variables},
            preexec_fn=functools.partial(_limit, file_bytes) if file_bytes else None,
        )
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        result["log"] = done.stderr
        lines = (line.split() for line in done.stdout.splitlines())
        result["traced"] = [words[1] for words in lines if words[:1] == ["TRACED"]]
        return result

    def entries(self) -> list[Path]:
        return sorted(self.cache.glob("graphs/*/graph.mindir"))


@pytest.fixture
def runs(tmp_path: Path) -> _Runs:
    return _Runs(tmp_path)


def _numbers(run: dict[str, Any]) -> tuple[Any, ...]:
    return run["losses"], run["weights"], run["chosen"]


def test_a_second_process_restores_and_computes_the_same_bits(runs: _Runs) -> None:
    first = runs()
    assert first["traced"].count("net") >= 2
    assert len(runs.entries()) == 2
    assert "compiling graph 2" in first["log"]
    second = runs()
    assert second["traced"] == ["outside"]  # only what is not kept was read by the compiler
    for number in (1, 2):
        assert f"restoring graph {number}" in second["log"]
    assert _numbers(second) == _numbers(first)
    # of another order, MindSpore's own numbers of the graphs say nothing
    turned = runs(shapes="5,4")
    assert turned["traced"] == ["outside"]
    off = runs(shapes="5,4", SCIMIND_COMPILE_CACHE="0")
    assert "net" in off["traced"]
    assert _numbers(turned) == _numbers(off)
    assert not list(runs.cache.glob("graphs/process-*"))


def test_another_setting_is_compiled(runs: _Runs) -> None:
    runs(width=8, shapes="4")
    other = runs(width=6, shapes="4")
    assert "net" in other["traced"]
    assert _numbers(other) == _numbers(runs(width=6, shapes="4", SCIMIND_COMPILE_CACHE="0"))


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no compiler")
def test_a_graph_without_kernels_is_not_that_of_a_run_with_them(runs: _Runs) -> None:
    plain = runs(shapes="4", SCIMIND_KERNELS="plain")
    assert set(plain["chosen"].values()).isdisjoint({"cpu/kernel"})
    fast = runs(shapes="4")
    assert fast["chosen"]["linear_activation float32"] == "cpu/kernel"
    assert "net" in fast["traced"]
    again = runs(shapes="4", SCIMIND_KERNELS="plain")
    assert "net" not in again["traced"]
    assert _numbers(again) == _numbers(plain)


def test_a_changed_script_is_compiled(runs: _Runs) -> None:
    before = runs(shapes="4")
    runs.script.write_text(SCRIPT.replace("+ self.frozen", "- self.frozen"))
    after = runs(shapes="4")
    assert "net" in after["traced"]
    assert after["losses"] != before["losses"]


def test_a_damaged_entry_is_said_and_compiled(runs: _Runs) -> None:
    before = runs(shapes="4")
    (entry,) = runs.entries()
    entry.write_bytes(entry.read_bytes()[:-1])
    after = runs(shapes="4")
    assert "is damaged" in after["log"]
    assert "net" in after["traced"]
    assert _numbers(after) == _numbers(before)
    assert runs(shapes="4")["traced"] == ["outside"]  # and was kept again


def test_a_store_that_cannot_be_written_is_said(runs: _Runs) -> None:
    (runs.cache / "graphs").write_text("not a folder")
    run = runs(shapes="4")
    assert "graphs are not kept" in run["log"]
    assert "net" in run["traced"]


TWO_GRAPHS = """
import logging
import numpy as np
import mindspore as ms
from mindspore import Tensor, nn
from scimind import device
from scimind.graphs import kept

logging.basicConfig()
device.setup(threads=1)

class Shift(nn.Cell):
    def __init__(self, by):
        super().__init__()
        self.by = by
    @ms.jit(capture_mode="ast")
    def construct(self, x):
        return x + self.by

one, ten = Shift(1.0), Shift(10.0)
x = Tensor(np.zeros(2, np.float32))
with kept(ten, "construct", (x,)) as found:
    print(found, float(one(x).asnumpy()[0]), float(ten(x).asnumpy()[0]))
"""


def test_two_graphs_in_one_call_are_not_kept(runs: _Runs) -> None:
    runs.script.write_text(TWO_GRAPHS)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(runs.script)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "SCIMIND_CACHE": str(runs.cache)},
        )
        assert done.stdout.split() == ["False", "1.0", "10.0"]
        assert "2 graphs were compiled in one call" in done.stderr


FUSED = """
import numpy as np
import mindspore as ms
from mindspore import Tensor, nn
from scimind import device, ops
from scimind.graphs import kept
from scimind.nn import MLP

device.setup(threads=1)

class Net(nn.Cell):
    def __init__(self):
        super().__init__()
        self.mlp = MLP(4, 8, rng=np.random.default_rng(0))
        self.fused = ops.fused(self.mlp.set_train(False))
    @ms.jit(capture_mode="ast")
    def construct(self, x):
        return self.fused(x) * 2

net = Net().set_train(False)
x = Tensor(np.arange(8, dtype=np.float32).reshape(2, 4))
with kept(net, "construct", (x,)) as found:
    print(found, net(x).asnumpy().tobytes().hex(), ops.chosen())
"""


def test_a_fused_cell_is_restored(runs: _Runs) -> None:
    runs.script.write_text(FUSED)
    said = [
        subprocess.run(
            [sys.executable, str(runs.script)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "SCIMIND_CACHE": str(runs.cache)},
        ).stdout
        for _ in range(2)
    ]
    first, second = (line.split(maxsplit=1) for line in said)
    assert (first[0], second[0]) == ("False", "True")
    assert second[1] == first[1]


def test_a_full_disk_costs_the_graph_but_not_the_run(runs: _Runs) -> None:
    whole = runs(shapes="4")
    (entry,) = runs.entries()
    fits_not = entry.stat().st_size - 1
    read_only = runs(shapes="4", file_bytes=fits_not)
    assert "a kept graph is not used" in read_only["log"]
    shutil.rmtree(runs.cache / "graphs")
    part = runs(shapes="4", file_bytes=fits_not)
    assert "a graph is not kept" in part["log"]
    assert not runs.entries()
    assert _numbers(part) == _numbers(read_only) == _numbers(whole)
