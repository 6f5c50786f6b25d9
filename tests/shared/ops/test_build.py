"""How kernels become libraries: names, several processes, and what happens when it fails."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scimind.device import compiler
from scimind.ops.kernels import native

# Writes what it is called with to the target, after a while if it is told to.
COMPILER = """#!/bin/sh
if [ "$1" = --version ]; then echo "fake 1"; exit; fi
sleep "${FAKE_SECONDS:-0}"
echo "$@" >> "$0.log"
while [ "$1" != -o ]; do shift; done
echo library > "$2"
"""
KERNEL = """#include "scimind/operator.h"
using namespace scimind;
SCIMIND_OPERATOR(same, (In x, Out y)) { for (int64_t i = 0; i < x.size(); ++i) y[i] = x[i]; }
"""


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder for kernels, and nothing loaded from another one."""
    monkeypatch.setenv("SCIMIND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "STATE", native.State())
    compiler.digest.cache_clear()
    compiler._identity.cache_clear()
    return tmp_path / "cache" / "kernels"


@pytest.fixture
def fake_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A compiler that takes no time."""
    path = tmp_path / "compiler"
    path.write_text(COMPILER)
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    return path


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A source file with headers of its own."""
    monkeypatch.setattr(compiler, "INCLUDE", tmp_path / "include")
    monkeypatch.setattr(compiler, "PREBUILT", tmp_path / "prebuilt")
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "a.h").write_text("// a header\n")
    path = tmp_path / "one.cc"
    path.write_text('// one\n#include "a.h"\n')
    return path


def built(source: Path, options: list[str] | None = None) -> Path:
    """The library as another process would find it, which remembers no hash."""
    compiler.digest.cache_clear()
    compiler._identity.cache_clear()
    return compiler.libraries([source], options)[0]


def runs(fake_compiler: Path) -> int:
    log = fake_compiler.with_name("compiler.log")
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_a_library_is_compiled_once(cache: Path, fake_compiler: Path, source: Path) -> None:
    first = built(source)
    assert first.parent == cache
    assert built(source) == first
    assert runs(fake_compiler) == 1


def test_a_change_of_anything_gives_another_name(
    cache: Path, fake_compiler: Path, source: Path
) -> None:
    names = {built(source)}
    source.write_text('// two\n#include "a.h"\n')
    names.add(built(source))
    (compiler.INCLUDE / "a.h").write_text("// a changed header\n")
    names.add(built(source))
    source.with_name("a.h").write_text("// a header beside the source, which is found first\n")
    names.add(built(source))
    names.add(built(source, ["-O1"]))
    fake_compiler.write_text(COMPILER.replace("fake 1", "fake 2"))
    names.add(built(source))
    assert len(names) == 6
    assert {path.name for path in names} == {path.name for path in cache.iterdir()}


@pytest.mark.parametrize("line", ['#include "{}"', "  #  include <{}>", '#if __has_include("{}")'])
@pytest.mark.parametrize("header", ["own.hpp", "sub/more.h", "scimind/inner.inc"])
def test_a_change_of_what_is_included_gives_another_name(
    cache: Path, fake_compiler: Path, source: Path, header: str, line: str
) -> None:
    folder = compiler.INCLUDE if header.startswith("scimind") else source.parent
    source.write_text('#include "first.h"\n')
    source.with_name("first.h").write_text(line.format(header) + '\n#include "first.h"\n')
    without = built(source)
    (folder / header).parent.mkdir(exist_ok=True)
    (folder / header).write_text("#define FACTOR 30\n")
    before = built(source)
    (folder / header).write_text("#define FACTOR 50\n")
    after = built(source)
    assert len({without, before, after}) == 3
    (source.parent / "unused.h").write_text("// nothing\n")
    assert built(source) == after


def test_headers_in_turned_order_give_another_name(cache: Path, source: Path) -> None:
    for name in ("b.h", "c.h"):
        source.with_name(name).write_text(f"// {name}\n")
    found = set()
    for first, second in ("bc", "cb"):
        source.write_text(f'#include "{first}.h"\n#include "{second}.h"\n')
        compiler.digest.cache_clear()
        found.add(compiler.digest(source))
    assert len(found) == 2


def test_what_killed_builds_left_is_removed_after_a_day(
    cache: Path, fake_compiler: Path, source: Path
) -> None:
    cache.mkdir(parents=True)
    old, young, other = (cache / name for name in (".building-a.so", ".building-b.so", "c.so"))
    for path in (old, young, other):
        path.write_text("half a library\n")
    for path in (old, other):
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    library = built(source)
    assert set(cache.iterdir()) == {young, other, library}


def test_a_prebuilt_library_needs_no_compiler(
    monkeypatch: pytest.MonkeyPatch, cache: Path, fake_compiler: Path, source: Path
) -> None:
    ready = compiler.prebuilt(source, compiler.instruction_set())
    ready.parent.mkdir()
    ready.write_text("library\n")
    assert built(source) == ready
    assert runs(fake_compiler) == 0
    assert built(source, ["-O1"]).parent == cache, "flags of one's own"
    source.write_text("// two\n")
    assert built(source).parent == cache, "a changed source"


BUILD = """
import sys
import time
from pathlib import Path
from scimind.device import compiler
print("ready", flush=True)
sys.stdin.readline()
print(compiler.libraries([Path(sys.argv[1])])[0], flush=True)
"""


def test_two_processes_that_build_at_once_leave_one_library(
    monkeypatch: pytest.MonkeyPatch, cache: Path, fake_compiler: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "1")
    source = tmp_path / "one.cc"
    source.write_text("// one\n")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD, str(source)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate()[0].strip() for process in processes]
    assert runs(fake_compiler) == 2, "they did not meet"
    assert said == [str(path) for path in cache.iterdir()] * 2
    assert [process.returncode for process in processes] == [0, 0]


needs_kernels = pytest.mark.skipif(
    shutil.which("g++") is None, reason="the compiler's message is wanted"
)


@needs_kernels
def test_a_compiler_error_names_the_file_and_spares_the_others(
    cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = tmp_path / "good.cc", tmp_path / "bad.cc"
    good.write_text(KERNEL)
    bad.write_text("int f() { return undeclared; }\n")
    for path in (good, bad):
        native.announce(path)
    with caplog.at_level(logging.WARNING, logger="scimind.ops"):
        assert native.load(bad) is None
        library = native.load(good)
    assert library is not None
    assert [path.name for path in cache.iterdir()] == [library.name], "no temporary files"
    (message,) = (record.getMessage() for record in caplog.records)
    assert "plain operators instead of CPU kernels" in message
    assert str(bad) in message
    assert "‘undeclared’ was not declared" in message or "'undeclared'" in message


REPORT = """
import logging
import mindspore, numpy
logging.basicConfig(level="INFO")
from scimind import ops
print(ops.gelu(mindspore.Tensor(numpy.zeros(3, numpy.float32))).asnumpy().sum())
print(ops.chosen()["gelu float32"])
"""


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("CXX", "no-such-compiler", "no C++ compiler (g++) is installed"),
        ("SCIMIND_CACHE", "file/cache", "Not a directory"),
    ],
)
def test_without_a_library_the_plain_formulation_runs_and_says_why(
    variable: str, value: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder\n")
    done = subprocess.run(
        [sys.executable, "-c", REPORT],
        cwd=tmp_path,
        env={**os.environ, "SCIMIND_CACHE": "cache", variable: value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["0.0", "plain"]
    assert done.stderr.count("plain operators instead of CPU kernels") == 1
    assert reason in done.stderr
