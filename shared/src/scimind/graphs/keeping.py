"""Lets MindSpore's graph cache see one graph at a time, the one of our key, or none.

MindSpore numbers the graphs of a process that it compiles with the cache switched on, and reads or
writes the file of that number in a folder that is fixed at the first one. Here it is switched on
for one compilation only, in a folder of this process alone, which then holds the file with the next
number if the store has the key, and nothing otherwise. A number that MindSpore does not expect so
leads to a compilation, never to another graph.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mindspore
from google.protobuf.message import DecodeError
from mindspore import nn
from mindspore.graph import api
from mindspore.train.mind_ir_pb2 import ModelProto

from scimind.device.compile_cache import cache_root
from scimind.graphs.key import Unkeyable, graph_key
from scimind.ops import registry

_log = logging.getLogger(__name__)

STORE_BYTES = 2 * 1024**3
"""Size of the store above which the graphs unused for longest are removed."""

ABANDONED_S = 24 * 3600.0
"""Age after which the folder of a process that was killed is removed, seconds."""


@contextlib.contextmanager
def kept(cell: nn.Cell, method: str, inputs: Sequence[Any]) -> Iterator[bool]:
    """Around the first call of a jitted method with inputs of these shapes: restore the graph.

    If the store has the graph it is loaded instead of compiled, otherwise it is compiled and
    stored. ``SCIMIND_COMPILE_CACHE=0`` switches this off; a job of several processes always
    compiles.

    Args:
        cell: The cell whose method is jitted; every parameter that the graph uses is its own.
        method: Name of the method.
        inputs: Arguments of the call: arrays and tensors by shape and dtype, others by value.
            The call compiles one graph and no other.

    Yields:
        Whether the store has the graph.
    """
    process = _this_process()
    key = None if process is None else _key(cell, method, tuple(inputs))
    if process is None or key is None:
        yield False
        return
    with process.lock:
        about = process.offer(key)
        if about is not None:
            registry.announce(about["choices"])
        with process.switched_on():
            yield about is not None
        process.keep(key)


def _key(cell: nn.Cell, method: str, inputs: tuple[Any, ...]) -> str | None:
    try:
        return graph_key(cell, method, inputs)
    except Unkeyable as error:
        _say_unkeyable(f"{type(cell).__name__}.{method}", str(error))
        return None


@functools.cache
def _say_unkeyable(what: str, reason: str) -> None:
    _log.info("the graph of %s is not kept for the next run: it depends on %s", what, reason)


@functools.cache
def _this_process() -> _Process | None:
    if os.environ.get("SCIMIND_COMPILE_CACHE", "1") == "0":
        return None
    if int(os.environ.get("MS_WORKER_NUM", "") or 1) > 1:
        _log.info("graphs are not kept in jobs of several processes")
        return None
    store = cache_root() / "graphs"
    try:
        store.mkdir(parents=True, exist_ok=True)
        return _Process(store)
    except OSError as error:
        _log.warning("graphs are not kept for the next run: %s: %s", error.strerror, error.filename)
        return None


class _Process:
    """The store as seen from this process."""

    def __init__(self, store: Path) -> None:
        self.lock = threading.RLock()
        self._store = store
        self._folder = Path(tempfile.mkdtemp(prefix="process-", dir=store))
        self._owner = os.getpid()
        self._next = 0
        self._offered: Path | None = None
        atexit.register(self._close)
        # MindSpore wants a hash of the script's files and compares it with that in its folder; what
        # a graph depends on is in our key.
        self._same = self._folder / "same"
        self._same.write_text("the key says what the graph depends on\n")
        self._sees = self._folder / "rank_0" / "graph_cache"
        self._sees.mkdir(parents=True)
        one = hashlib.sha256(self._same.read_bytes()).hexdigest()
        (self._sees / "compile_dependency.hash").write_text(
            hashlib.sha256(one.encode()).hexdigest()
        )
        self._remove_old()

    def offer(self, key: str) -> dict[str, Any] | None:
        """Show MindSpore the graph of a key, or none; what is known of it."""
        for left in self._sees.glob("*.mindir"):
            left.unlink()
        self._offered = None
        entry = self._store / key
        try:
            about: dict[str, Any] = json.loads((entry / "about.json").read_text())
            graph = (entry / "graph.mindir").read_bytes()
            if hashlib.sha256(graph).hexdigest() != about["sha256"]:
                raise ValueError("its hash does not fit")
            os.utime(entry)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("the kept graph %s is damaged (%s): compiling it again", entry, error)
            shutil.rmtree(entry, ignore_errors=True)
            return None
        shown = self._sees / f"compile_cache_{self._next}.mindir"
        try:
            shown.write_bytes(graph)
        except OSError as error:
            _log.warning("a kept graph is not used: %s: %s", error.strerror, shown)
            shown.unlink(missing_ok=True)
            return None
        self._offered = shown
        return about

    @contextlib.contextmanager
    def switched_on(self) -> Iterator[None]:
        """MindSpore's cache for what is compiled inside, not for anything else."""
        dependencies = api._get_compile_cache_dep_files  # reads and imports the script otherwise
        api._get_compile_cache_dep_files = lambda: [str(self._same)]
        mindspore.set_context(enable_compile_cache=True, compile_cache_path=str(self._folder))
        try:
            yield
        finally:
            mindspore.set_context(enable_compile_cache=False)
            api._get_compile_cache_dep_files = dependencies
            self._next += 1

    def keep(self, key: str) -> None:
        """Move the graph that MindSpore has compiled, if it has, to the store."""
        written = [path for path in self._sees.glob("*.mindir") if path != self._offered]
        if written:
            self._next = 1 + max(int(path.stem.rpartition("_")[2]) for path in written)
        if len(written) > 1:  # restoring would give the first of them this one's graph
            _log.warning("a graph is not kept: %d graphs were compiled in one call", len(written))
        elif written:
            try:
                graph = written[0].read_bytes()
                ModelProto().ParseFromString(graph)  # a full disk leaves a part of it
                self._store_graph(key, graph)
            except OSError as error:
                _log.warning("a graph is not kept: %s: %s", error.strerror, error.filename)
            except DecodeError:
                _log.warning("a graph is not kept: MindSpore wrote only a part of it")

    def _store_graph(self, key: str, graph: bytes) -> None:
        new = Path(tempfile.mkdtemp(prefix="new-", dir=self._folder))
        (new / "graph.mindir").write_bytes(graph)
        about = {
            "sha256": hashlib.sha256(graph).hexdigest(),
            "choices": registry.chosen(),
            "mindspore": mindspore.__version__,
        }
        (new / "about.json").write_text(json.dumps(about, indent=1))
        with contextlib.suppress(OSError):  # another process was first
            new.rename(self._store / key)

    def _remove_old(self) -> None:
        entries = []
        for path in self._store.iterdir():
            with contextlib.suppress(OSError):
                used = path.stat().st_mtime
                if path.name.startswith("process-"):
                    if used < time.time() - ABANDONED_S:
                        shutil.rmtree(path, ignore_errors=True)
                else:
                    entries.append((used, sum(f.stat().st_size for f in path.iterdir()), path))
        total = 0
        for _, size, path in sorted(entries, reverse=True):
            total += size
            if total > STORE_BYTES:
                shutil.rmtree(path, ignore_errors=True)

    def _close(self) -> None:
        if os.getpid() == self._owner:
            shutil.rmtree(self._folder, ignore_errors=True)
