"""Compiled kernels on random calls: under sanitizers, and the same bits in other surroundings."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mindspore
import numpy as np
import pytest

import scimind.ops
from kernel_cases import FUSED, JOINED, Case, cases_of, fused_case, joined_case
from outcomes import RESULTS, keep
from sanitized import DiedError, Process, Settings
from scimind.device import compiler
from scimind.ops import OPERATORS, Operator

for module in pkgutil.iter_modules(scimind.ops.__path__):
    importlib.import_module(f"scimind.ops.{module.name}")  # all operators, also optional ones

OWN = Path(__file__).parents[2] / "support" / "sanitizers"
ONEDNN = Path(mindspore.__file__).parent / "lib" / "libdnnl.so.3"
SANITIZERS = (
    *("-O1", "-g1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"),
    "-fsanitize=address,undefined,float-cast-overflow",
    "-D_GLIBCXX_ASSERTIONS",
)
LEVELS = (*compiler.LEVELS, None)
COMPILER = os.environ.get("CXX", "g++")
COMMAND = "python -m pytest -m nightly tests/shared/ops/test_sanitizers.py"
# All that may differ between calls with the same arguments; the shift stays when a sanitizer has
# to see the start of a tensor.
ONE = Settings()
OTHER = Settings(threads=3, apart=False, fill=0x5A, shift=1, reverse=True)


def runtime(name: str) -> Path | None:
    """The library of a sanitizer that the compiler brings along."""
    if shutil.which(COMPILER) is None:
        return None
    answer = subprocess.run(
        [COMPILER, f"-print-file-name=lib{name}.so"], capture_output=True, text=True
    )
    path = Path(answer.stdout.strip())
    return path.resolve() if path.is_absolute() else None


RUNTIMES = [runtime("asan"), runtime("ubsan")]
needs_compiler = pytest.mark.skipif(shutil.which(COMPILER) is None, reason="no compiler")
needs_sanitizers = pytest.mark.skipif(None in RUNTIMES, reason="the compiler has no sanitizers")


CPU = compiler.INCLUDE.with_name("cpu")


def is_ours(entry: Operator) -> bool:
    return bool(entry.kernels) and Path(entry.kernels[0].source).parent == CPU


DECLARED = [name for name, entry in OPERATORS.items() if is_ours(entry)]
NAMES = [*DECLARED, *JOINED, *FUSED]


def source_of(name: str) -> Path:
    if name in FUSED:
        return CPU / "fused.cc"
    return CPU / "update.cc" if name in JOINED else Path(OPERATORS[name].kernels[0].source)


def cases_of_symbol(name: str, scale: int) -> list[Case]:
    if name in JOINED:
        return [joined_case(name, seed) for seed in range(20 * scale)]
    if name in FUSED:
        return [fused_case(name, seed) for seed in range(20 * scale)]
    return cases_of(OPERATORS[name], scale)


def sanitized(source: Path, level: str | None) -> Path:
    """The library of ``source`` with sanitizers."""
    options = (*compiler.flags(level), *SANITIZERS)
    siblings = sorted(source.parent.glob("*.cc"))
    try:
        return dict(zip(siblings, compiler.libraries(siblings, options), strict=True))[source]
    except compiler.BuildError:  # another one may be the one that fails
        return compiler.libraries([source], options)[0]


class Pair:
    """Two processes that differ in all settings; each is started again after it died."""

    def __init__(self, product: Path, preload: tuple[Path, ...], other: Settings) -> None:
        self.product, self.preload, self.other = product, preload, other
        self._kept: dict[Settings, Process] = {}

    def process(self, how: Settings) -> Process:
        if how not in self._kept or not self._kept[how].alive:
            self._kept[how] = Process(how, self.preload)
        return self._kept[how]

    def close(self) -> None:
        for process in self._kept.values():
            process.__exit__()

    def check(self, library: Path, cases: list[Case], folder: Path) -> None:
        """Fails when a process dies, or when the two find different results."""
        first, second = (
            self.process(how).call(library, self.product, cases) for how in (ONE, self.other)
        )
        for case, one, two in zip(cases, first, second, strict=True):
            names = [name for name in one if one[name] != two[name]]
            if names:
                pytest.fail(self.explain(library, case, names[0], folder))

    def explain(self, library: Path, case: Case, name: str, folder: Path) -> str:
        """Which settings change tensor ``name``, and where."""
        kept = []
        for how in (ONE, self.other):
            file = folder / f"{how.fill}.npz"
            self.process(how).call(library, self.product, [case], file)
            kept.append(np.load(file)[name])
        bits = [np.frombuffer(x.tobytes(), np.uint8).reshape(*x.shape, -1) for x in kept]
        places = np.argwhere((bits[0] != bits[1]).any(-1))
        causes = []
        for setting in ("threads", "fill", "shift"):
            how = replace(ONE, **{setting: getattr(self.other, setting)})
            with Process(ONE, self.preload) as one, Process(how, self.preload) as changed:
                found = [p.call(library, self.product, [case])[0][name] for p in (one, changed)]
            causes += [setting] if found[0] != found[1] else []
        where = (
            f"{len(places)} elements, the first at {places[0]}" if len(places) else "nothing now"
        )
        return f"{name} changes with {causes or 'earlier calls'}: {where}, in {case}"


@pytest.fixture(scope="module")
def product() -> Path:
    """The matrix product, compiled with sanitizers."""
    return sanitized(OWN / "product.cc", None)


@pytest.fixture(scope="module")
def watched(product: Path) -> Iterator[Pair]:
    """Processes under sanitizers."""
    pair = Pair(product, tuple(filter(None, RUNTIMES)), replace(OTHER, shift=0))
    yield pair
    pair.close()


@pytest.fixture(scope="module")
def unwatched() -> Iterator[Pair]:
    """Processes as users have them."""
    pair = Pair(ONEDNN, (), OTHER)
    yield pair
    pair.close()


def test_every_compiled_symbol_is_called() -> None:
    called = set(NAMES)
    called |= {f"{name}_grad" for name in DECLARED if OPERATORS[name].kernels[0].backward}
    text = "".join(path.read_text() for path in CPU.glob("*.cc"))
    entries = re.findall(r'SCIMIND_OPERATOR\((\w+)|extern "C"[\w ]+ (\w+)\(', text)
    assert {symbol for pair in entries for symbol in pair if symbol} == called


def vector(symbol: str, seed: int = 0, count: int = 64) -> Case:
    of = {"shape": (count,), "dtype": "float32"}
    step = {"symbol": symbol, "takes": ["x"], "gives": {"y": of}, "checks": ["y"]}
    values = {"x": {**of, "odd": 0.0}}
    return {"values": values, "options": None, "seed": seed, "offset": 0, "steps": [step]}


MISTAKES = {
    "reads_past_the_end": "heap-buffer-overflow.*READ",
    "reads_before_the_start": "heap-buffer-overflow.*READ",
    "writes_past_the_end": "heap-buffer-overflow.*WRITE",
    "multiplies_past_the_end": "heap-buffer-overflow.*READ",
    "overflows": "signed integer overflow",
    "rounds_what_is_no_number": "outside the range of representable values",
}


@needs_sanitizers
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_sanitizer_ends_a_kernel_that_is_wrong(
    mistake: str, watched: Pair, tmp_path: Path
) -> None:
    library = sanitized(OWN / "faulty.cc", None)
    watched.check(library, [vector("faultless")], tmp_path)
    with pytest.raises(DiedError, match=re.compile(MISTAKES[mistake], re.DOTALL)) as died:
        watched.check(library, [vector(mistake)], tmp_path)
    assert mistake in str(died.value).partition("\n")[0]


@needs_sanitizers
@pytest.mark.parametrize(
    ("mistake", "cause"),
    [
        ("leaves_the_last_element", "fill"),
        ("reads_what_nobody_wrote", "fill"),
        ("remembers_the_last_call", "earlier calls"),
        ("depends_on_the_threads", "threads"),
    ],
)
def test_two_processes_tell_what_a_result_depends_on(
    mistake: str, cause: str, watched: Pair, tmp_path: Path
) -> None:
    library = sanitized(OWN / "faulty.cc", None)
    with pytest.raises(pytest.fail.Exception, match=f"{mistake} y changes with .*{cause}"):
        watched.check(library, [vector(mistake, seed) for seed in range(2)], tmp_path)


@needs_sanitizers
@pytest.mark.parametrize("name", NAMES)
def test_kernels_keep_within_their_tensors_and_write_all_of_them(
    name: str, watched: Pair, tmp_path: Path
) -> None:
    library = sanitized(source_of(name), compiler.instruction_set())
    watched.check(library, cases_of_symbol(name, 1), tmp_path)


@needs_compiler
@pytest.mark.parametrize("name", NAMES)
def test_results_depend_on_nothing_but_the_arguments(
    name: str, unwatched: Pair, tmp_path: Path
) -> None:
    library = compiler.libraries([source_of(name)])[0]
    unwatched.check(library, cases_of_symbol(name, 1), tmp_path)


@pytest.fixture(scope="module")
def passed() -> Iterator[dict[str, dict[str, int]]]:
    """Numbers of cases by instruction set and operator, which are kept in the end."""
    found: dict[str, dict[str, int]] = {}
    yield found
    for level, cases in found.items():
        keep(RESULTS / "sanitizers.json", level, {"cases": cases}, command=COMMAND)


@needs_sanitizers
@pytest.mark.nightly
@pytest.mark.parametrize("level", LEVELS[LEVELS.index(compiler.instruction_set()) :])
@pytest.mark.parametrize("name", NAMES)
def test_kernels_of_every_instruction_set_on_many_calls(
    name: str,
    level: str | None,
    watched: Pair,
    unwatched: Pair,
    passed: dict[str, dict[str, int]],
    tmp_path: Path,
) -> None:
    cases = cases_of_symbol(name, 20)
    watched.check(sanitized(source_of(name), level), cases, tmp_path)
    library = compiler.libraries([source_of(name)], compiler.flags(level))[0]
    unwatched.check(library, cases, tmp_path)
    passed.setdefault(level or "x86-64", {})[name] = len(cases)


@pytest.mark.skipif(runtime("tsan") is None, reason="the compiler has no thread sanitizer")
def test_the_pool_has_no_data_race(tmp_path: Path) -> None:
    program = tmp_path / "pool"
    flags = ("-std=c++17", "-O1", "-g", "-fsanitize=thread", "-pthread", f"-I{compiler.INCLUDE}")
    subprocess.run([COMPILER, *flags, str(OWN / "pool.cc"), "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr[:4000]
