"""Build hook: brings the CPU kernels along compiled, where the wheel is built with a C++ compiler.

They are found by ``scimind/device/compiler.py``, which is loaded here by its path: it needs the
standard library only, and a build has no MindSpore. An editable installation gets none, so that a
changed kernel is compiled when it is used.
"""
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KERNELS = Path("scimind", "ops", "kernels")
# The C++ runtime of the compiler may be newer than that of the machine that runs the kernels. Its
# symbols stay inside, as MindSpore brings its own.
PORTABLE = ("-s", "-static-libstdc++", "-Wl,--exclude-libs,ALL", "-Wl,--gc-sections")


class KernelHook(BuildHookInterface):
    """Compiles every kernel for every level of the instruction set."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the libraries to the wheel and says which machines can load them."""
        self.folder = Path(tempfile.mkdtemp(prefix="scimind-kernels-"))
        if version == "editable":
            return
        built = self._compile()
        if not built:
            self.app.display_warning("a wheel without compiled kernels: they compile on first use")
            return
        for library in built:
            place = KERNELS / "prebuilt" / library.name
            build_data["force_include"][str(library)] = str(place)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux_2_{newest_symbols(built)}_x86_64"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes what was compiled."""
        shutil.rmtree(self.folder)

    def _compile(self) -> list[Path]:
        machine = sys.platform, platform.machine(), platform.libc_ver()[0]
        if machine != ("linux", "x86_64", "glibc"):
            self.app.display_warning(f"no kernels are compiled on {' '.join(machine)}")
            return []
        compiler = shutil.which(os.environ.get("CXX", "g++"))
        if compiler is None:
            self.app.display_warning("no kernels are compiled: there is no C++ compiler (g++)")
            return []
        folder = Path(self.root) / "src" / KERNELS
        build = _module(folder.parents[1] / "device" / "compiler.py")

        def compiled(source: Path, level: str) -> Path | None:
            target: Path = self.folder / build.prebuilt(source, level).name
            try:
                build.compile_one([compiler, *build.flags(level), *PORTABLE], source, target)
            except build.BuildError as error:
                self.app.display_warning(str(error))
                return None
            return target

        pairs = [(s, level) for s in sorted(folder.glob("cpu/*.cc")) for level in build.LEVELS]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            found = pool.map(compiled, *zip(*pairs, strict=True))
        return [library for library in found if library is not None]


def newest_symbols(libraries: list[Path]) -> int:
    """The y of the oldest glibc 2.y that has all symbols of the libraries."""
    versions = [re.findall(rb"\0GLIBC_2\.(\d+)", library.read_bytes()) for library in libraries]
    return max(int(version) for found in versions for version in found)


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("scimind_compiler", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
