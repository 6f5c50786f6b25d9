"""Runs triton-ascend's kernels on MindSpore tensors, in pynative mode: **never run on Ascend**.

triton-ascend (3.2.0) compiles a kernel with CANN alone, but its driver asks PyTorch for the device
and the stream, and its launcher allocates and queues through ``torch_npu``. Of what a driver has to
supply, this one takes

* the device from MindSpore's context,
* the target, the number of cores and the loading of binaries from triton-ascend's own
  ``npu_utils.cpp``, compiled here without PyTorch,
* the launcher from ``launcher.cc``, which packs the arguments as triton-ascend's does and lets
  MindSpore allocate the workspace and choose stream and moment.

Verified without a device: the kernels up to the Linalg dialect (`lowering`), and the launcher on
MindSpore's CPU backend against a stand-in for CANN's runtime library (order, addresses, layout of
the arguments, workspace). Unverified: that ``bishengir-compile`` accepts the kernels and they fit
in on-chip memory; CANN's headers and libraries; that a kernel registered from Python's thread may
be launched from MindSpore's; that MindSpore lets a runner without outputs write to its inputs, the
memory of which is kept alive until then; gradients and ``ms.jit``, for which nothing is done here.
Kernels with locks between blocks, SIMT kernels and the profiler hooks are left out.

`MindSporeDriver.active` makes the driver Triton's; it replaces ``NPUUtils.__init__`` of
triton-ascend, which compiles against PyTorch and is called in the middle of its compiler. Later
development versions of triton-ascend have parts for MindSpore of their own (``backend_register``);
this driver refuses other versions than the released one that it was written for.
"""
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import struct
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase

from scimind.ops.kernels.triton.interpreter import Pointer

VERIFIED = False
"""For `scimind.ops.registry.register`: nobody has run this on the device that it is for."""

# C types of the arguments of a kernel in struct's notation; each is aligned to its size.
_FORMATS = {"i32": "i", "u32": "I", "i64": "q", "u64": "Q", "fp32": "f"}


def cann() -> Path:
    """The folder of CANN.

    Raises:
        RuntimeError: ``ASCEND_HOME_PATH`` does not name it.
    """
    folder = os.environ.get("ASCEND_HOME_PATH", "")
    if not folder or not Path(folder).is_dir():
        raise RuntimeError(
            f"ASCEND_HOME_PATH is {folder!r}; it has to name the folder of CANN, as its "
            "set_env.sh does"
        )
    return Path(folder)


def includes() -> list[Path]:
    """Where CANN keeps the headers of its runtime; recent versions have them in ``pkg_inc``."""
    root = cann()
    found = [root / "include", root / "include/experiment", root / "include/experiment/msprof"]
    if not (root / "include/experiment/runtime/runtime/rt.h").exists():
        found += [root / "pkg_inc", root / "pkg_inc/profiling"]
    return found


def layout(types: Sequence[str], *, sync: bool) -> tuple[list[int], list[int], int]:
    """How a compiled kernel expects its arguments.

    First come the addresses of the synchronisation of cores (if ``sync``), of locks and of the
    workspace, then the arguments, then the three sizes of the grid; each at a multiple of its size.

    Args:
        types: Triton types of the arguments that are no constants, in order.
        sync: Whether the target synchronises its cores by address (FFTS).

    Returns:
        Offsets of the arguments and the grid; offsets of the synchronisation and of the workspace,
        -1 for none; bytes in total.

    Raises:
        TypeError: A type has no place in the arguments of a kernel.
    """
    own = [0, 16] if sync else [-1, 8]
    at = own[1] + 8
    places = []
    for kind in (*types, "i32", "i32", "i32"):
        if kind[0] != "*" and kind not in _FORMATS:
            raise TypeError(f"an argument of type {kind} cannot be passed; use {list(_FORMATS)}")
        size = 8 if kind[0] == "*" else struct.calcsize(_FORMATS[kind])
        at = -(-at // size) * size
        places.append(at)
        at += size
    return places, own, -(-at // 8) * 8


class Launcher:
    """Starts one compiled kernel; Triton makes one for each and calls it with the arguments.

    Args:
        source: The kernel as Triton read it.
        metadata: What triton-ascend found out while it compiled it.

    Raises:
        NotImplementedError: The kernel needs locks or SIMT, which are not supported.
    """

    def __init__(self, source: Any, metadata: Any) -> None:
        if getattr(metadata, "lock_num", -1) > 0:
            raise NotImplementedError(f"{metadata.kernel_name} needs locks between its blocks")
        if metadata.compile_on_910_95 or "simt" in metadata.parallel_mode:
            raise NotImplementedError(f"{metadata.kernel_name} is compiled for SIMT")
        utils = importlib.import_module("triton.backends.ascend.utils")
        sync = utils.is_ffts_supported(utils.get_ascend_arch_from_env())
        constants = {
            source.fn.arg_names[key] if isinstance(key, int) else key for key in source.constants
        }
        types = {name: kind for name, kind in source.signature.items() if name not in constants}
        self.given = [name in types for name in source.signature]
        self.kinds = list(types.values())
        self.places, self.own, self.size = layout(
            self.kinds, sync=sync and not utils.force_disable_ffts()
        )
        self.workspace = max(0, int(getattr(metadata, "workspace_size", -1)))
        self.name = str(metadata.kernel_name)

    def __call__(
        self,
        x: int,
        y: int,
        z: int,
        stream: int,
        function: int,
        packed: Mapping[str, Any],
        launch_metadata: Any,
        enter: Any,
        leave: Any,
        *arguments: Any,
    ) -> None:
        """Queue the kernel; MindSpore launches it when what was queued before is in its stream."""
        values = [value for value, given in zip(arguments, self.given, strict=True) if given]
        image, tensors, places = self.pack(values, (x, y, z))
        library().start(
            self.name, tensors, function, x * y * z, image, places, self.own, self.workspace
        )

    def pack(
        self, values: Sequence[Any], grid: tuple[int, int, int]
    ) -> tuple[bytes, list[Any], list[int]]:
        """The arguments without addresses, the tensors, and where the address of each belongs."""
        image = bytearray(self.size)
        tensors, places = [], []
        for place, kind, value in zip(
            self.places, (*self.kinds, "i32", "i32", "i32"), (*values, *grid), strict=True
        ):
            if isinstance(value, Pointer):
                tensors.append(value.array)
                places.append(place)
            else:
                struct.pack_into("=" + _FORMATS[kind], image, place, value)
        return bytes(image), tensors, places


@functools.cache
def library() -> Any:
    """``launcher.cc``, compiled against MindSpore and CANN on first use.

    Raises:
        RuntimeError: There is no CANN.
    """
    from mindspore import ops

    from scimind.device.compile_cache import cache_root

    libraries = cann() / "lib64"
    return ops.CustomOpBuilder(
        "scimind_triton_launcher",
        str(Path(__file__).with_name("launcher.cc")),
        include_paths=[str(path) for path in includes()],
        ldflags=f"-L{libraries} -lruntime -Wl,-rpath,{libraries}",
        build_dir=str(cache_root() / "triton" / "launcher"),
    ).load()


@functools.cache
def utilities() -> Any:
    """triton-ascend's ``npu_utils.cpp``, compiled against CANN only.

    Raises:
        RuntimeError: There is no CANN, or no C++ compiler.
        subprocess.CalledProcessError: The compiler refuses it.
    """
    from scimind.device.compile_cache import cache_root

    backend = importlib.import_module("triton.backends.ascend.utils")
    source = Path(str(backend.__file__)).with_name("npu_utils.cpp")
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise RuntimeError("no C++ compiler (g++) is installed")
    target = cache_root() / "triton" / f"npu_utils{sysconfig.get_config_var('EXT_SUFFIX')}"
    target.parent.mkdir(parents=True, exist_ok=True)
    libraries = cann() / "lib64"
    folders = [Path(sysconfig.get_path("include")), *includes()]
    made = target.with_suffix(f".{os.getpid()}.so")
    command = [compiler, "-std=c++17", "-shared", "-fPIC", "-w", str(source), "-o", str(made)]
    command += [f"-I{folder}" for folder in folders]
    command += [f"-L{libraries}", "-lruntime", f"-Wl,-rpath,{libraries}"]
    subprocess.run(command, check=True)
    made.replace(target)
    spec = importlib.util.spec_from_file_location("npu_utils", target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class MindSporeDriver(DriverBase):
    """Triton's driver for Ascend on MindSpore; see the module for what is not verified."""

    launcher_cls = Launcher

    def __init__(self) -> None:
        super().__init__()
        version = importlib.metadata.version("triton-ascend")
        if version != "3.2.0":
            raise RuntimeError(f"triton-ascend is {version}; this driver is for 3.2.0")
        ascend = importlib.import_module("triton.backends.ascend.driver")

        def initialise(self: Any) -> None:
            self.npu_utils_mod = utilities()

        ascend.NPUUtils.__init__ = initialise
        self.utils = ascend.NPUUtils()

    @classmethod
    @functools.cache
    def active(cls) -> MindSporeDriver:
        """The driver, which becomes that of Triton."""
        made = cls()
        importlib.import_module("triton.runtime").driver.set_active(made)
        return made

    @classmethod
    def is_active(cls) -> bool:
        """Whether this process computes on Ascend with MindSpore."""
        import mindspore

        return str(mindspore.get_context("device_target")) == "Ascend"

    def get_current_target(self) -> GPUTarget:
        """The chip."""
        return GPUTarget("npu", self.utils.get_arch(), 0)

    def get_current_device(self) -> int:
        """Number of the device."""
        import mindspore

        return int(mindspore.get_context("device_id"))

    def get_current_stream(self, device: int | None = None) -> int:
        """Nothing: MindSpore chooses the stream when it launches."""
        return 0

    def get_benchmarker(self) -> Any:
        """Triton's own timer, which needs PyTorch.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("autotuning is not supported on MindSpore")

    def processors(self) -> int:
        """Cores that run at the same time."""
        return int(self.utils.get_aicore_num())
