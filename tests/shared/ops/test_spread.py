"""Repetition along axes of length 1, and the memory that it does not keep."""

import re
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from scimind import ops
from scimind.ops.rule import RuleError

MEMORY = """
import sys
import numpy as np
import mindspore as ms
from mindspore import Tensor, nn
from scimind import device, ops

device.setup("cpu", threads=1)


class Scaled(nn.Cell):
    def __init__(self, offset, spread):
        super().__init__()
        self.offset, self.spread = offset, spread

    def construct(self, x):
        for _ in range(8):
            column = x[:, :1] + self.offset
            x = x * (ops.spread(column, x.shape) if self.spread else column)
        return x.sum()


def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6


x = Tensor(np.ones((2048, 512), np.float32))
sizes = []
for offset in range(4):
    cell = Scaled(float(offset), sys.argv[1] == "spread")
    run = ms.jit(cell)
    run(x).asnumpy()
    sizes.append(resident_mb())
print((sizes[-1] - sizes[0]) / 3)
"""


@pytest.mark.parametrize(
    ("have", "want"),
    [((3, 1), (3, 5)), ((1, 5), (3, 5)), ((2, 1, 4, 1), (2, 3, 4, 6)), ((2, 3), (2, 3))],
)
def test_it_is_numpys_broadcast_and_its_gradient_is_the_sum(have, want):
    rng = np.random.default_rng(0)
    x = rng.normal(size=have).astype(np.float32)
    weight = rng.normal(size=want).astype(np.float32)
    found = ops.spread(Tensor(x), want).asnumpy()
    np.testing.assert_array_equal(found, np.broadcast_to(x, want))
    slope = ms.grad(lambda v: (ops.spread(v, want) * Tensor(weight)).sum())(Tensor(x)).asnumpy()
    axes = tuple(i for i, (a, b) in enumerate(zip(have, want, strict=True)) if a != b)
    np.testing.assert_allclose(slope, weight.sum(axis=axes, keepdims=True), rtol=1e-5)


@pytest.mark.slow
def test_a_compiled_graph_keeps_no_table_of_what_was_spread(tmp_path):
    script = tmp_path / "memory.py"  # the compiler reads the source from a file
    script.write_text(MEMORY)
    growth = {}
    for way in ("spread", "broadcast"):
        done = subprocess.run(
            [sys.executable, script, way], capture_output=True, text=True, check=True
        )
        growth[way] = float(done.stdout.split()[-1])
    # 8 products of 2048 x 512 elements at 16 bytes are 134 MB per graph; when MindSpore stops
    # keeping them, ops.spread has no reason left
    assert growth["spread"] < 20 < 100 < growth["broadcast"], growth


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("have", [(2, 2), (3,), (1, 2, 1)])
def test_a_shape_that_cannot_be_reached_is_named(have, jit):
    def run(x):
        return ops.spread(x, (2, 3))

    rule = re.escape(f"spread: x has shape {have}; it has to have the 2 axes of (2, 3)")
    with pytest.raises(RuleError, match=rule):
        (ms.jit(run) if jit else run)(Tensor(np.ones(have, np.float32)))
