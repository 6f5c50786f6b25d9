"""Device, precision and caches."""

import os
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest

from scimind import device
from scimind.errors import ConfigError, EnvironmentProblem


def test_cpu_settings_are_reported_and_can_be_set_again():
    first = device.setup("cpu", threads=1)
    assert device.setup("cpu", threads=1) == first
    assert device.target() == "cpu"
    described = first.describe()
    assert described["device"] == "cpu"
    assert described["precision"]["compute"] == "float32"


@pytest.mark.parametrize(
    "arguments", [{"device": "gpu"}, {"precision": "fp8"}, {"threads": -1}], ids=str
)
def test_unknown_settings_are_config_errors_that_name_the_choices(arguments):
    with pytest.raises(ConfigError, match=r"choose|use"):
        device.setup(**arguments)


def test_a_precision_without_matrix_product_is_refused_with_alternatives():
    device.setup("cpu", threads=1)
    if "matmul.bfloat16" in device.capabilities():
        pytest.skip("this MindSpore has a bfloat16 matrix product on the CPU")
    with pytest.raises(EnvironmentProblem, match="use precision=fp32"):
        device.setup("cpu", "bf16", threads=1)


def test_half_precision_computes_in_half_and_keeps_parameters_and_sums_in_single():
    policy = device.precision_policy("fp16", "cpu")
    assert policy.dtype("compute") == ms.float16
    assert policy.dtype("param") == policy.dtype("reduce") == ms.float32
    assert policy.loss_scale


def test_capabilities_are_what_runs():
    found = device.capabilities()
    assert "matmul.float32" in found
    x = ms.Tensor(np.ones((2, 2), np.float16))
    assert ("matmul.float16" in found) == (ms.ops.matmul(x, x).asnumpy()[0, 0] == 2)


def test_ascend_without_its_driver_is_an_environment_problem():
    code = "from scimind import device; device.setup('ascend')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode == 0:
        pytest.skip("an Ascend device is present")
    assert "EnvironmentProblem" in done.stderr
    assert "device=cpu" in done.stderr


def test_the_graph_cache_of_mindspore_is_switched_off_aloud(tmp_path):
    code = (
        "import logging; logging.basicConfig(); from scimind import device;"
        "device.setup('cpu', threads=1); import os; print(os.environ['MS_COMPILER_CACHE_ENABLE'])"
    )
    env = {**os.environ, "MS_COMPILER_CACHE_ENABLE": "1", "MS_COMPILER_CACHE_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.split()[-1] == "0", done.stderr
    assert "is ignored" in done.stderr


def test_importing_the_library_does_not_import_mindspore():
    code = "import sys, scimind, scimind.device; assert 'mindspore' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_thread_that_calls_a_graph_runs_it(tmp_path):
    """It would otherwise wait in a loop without pause, on a core that the kernels need."""
    program = tmp_path / "program.py"  # MindSpore reads the source of what it compiles
    program.write_text("""
import time
from scimind import device, ops
device.setup("cpu", threads=1)
import mindspore as ms, numpy as np

@ms.jit
def product(x):
    for _ in range(10):
        x = ops.linear(x, x)
    return x.sum()

x = ms.Tensor(np.full((1024, 1024), 1e-3, np.float32))
product(x).asnumpy()
own, all_threads = time.thread_time(), time.process_time()
product(x).asnumpy()
print((time.thread_time() - own) / (time.process_time() - all_threads))
""")
    env = {name: value for name, value in os.environ.items() if name != "MS_DEV_HOST_BLOCKING_RUN"}
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, env=env)
    assert float(done.stdout.split()[-1]) > 0.5, done.stdout + done.stderr
