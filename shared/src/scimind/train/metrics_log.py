"""Metrics of a run: JSON lines as the source of truth, TensorBoard events beside them."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)


class MetricsLog:
    """Appends one JSON object per line; a failing disk or writer never stops training.

    A resumed run cuts the file at the position its checkpoint remembers, so that no line is double
    or missing.

    Args:
        path: The JSON lines file.
        tensorboard: Folder of event files, or None.
        position: Bytes of the file that belong to the past of this run.
        step: Step at which TensorBoard shall forget later events.
    """

    def __init__(
        self, path: Path, tensorboard: Path | None = None, *, position: int = 0, step: int = 0
    ) -> None:
        self._path = path
        self._file: Any = None
        self._events: Any = None
        self._position = position
        self._open(position)
        if tensorboard is not None:
            self._open_events(tensorboard, step)

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append a line; numbers go to TensorBoard as ``kind/name`` as well.

        Values that are NaN or infinite become null, because JSON has no name for them.
        """
        record = {"kind": kind, "step": step, **values}
        line = json.dumps({name: _plain(value) for name, value in record.items()})
        if self._file is not None:
            try:
                self._file.write(line.encode() + b"\n")
                self._file.flush()
            except (OSError, ValueError) as error:
                self._give_up("_file", self._path, error)
        if self._events is not None:
            try:
                for name, value in values.items():
                    if isinstance(value, int | float) and math.isfinite(value):
                        self._events.add_scalar(f"{kind}/{name}", value, step)
            except Exception as error:
                self._give_up("_events", "TensorBoard", error)

    def flush(self) -> int:
        """Make the lines durable; returns the position for a checkpoint."""
        if self._file is not None:
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._position = self._file.tell()
            except (OSError, ValueError) as error:
                self._give_up("_file", self._path, error)
        if self._events is not None:
            try:
                self._events.flush()
            except Exception as error:
                self._give_up("_events", "TensorBoard", error)
        return self._position

    def close(self) -> None:
        """Flush and close both writers."""
        self.flush()
        for name in ("_file", "_events"):
            writer = getattr(self, name)
            if writer is not None:
                try:
                    writer.close()
                except Exception as error:
                    self._give_up(name, self._path, error)
            setattr(self, name, None)

    def _open(self, position: int) -> None:
        try:
            self._file = self._path.open("ab")
            size = self._file.tell()
            if size > position:
                self._file.truncate(position)
                self._file.seek(position)
            elif size < position:
                _log.warning(
                    "%s has %d bytes, but %d had been written at the checkpoint: lines are lost",
                    self._path, size, position,
                )  # fmt: skip
        except OSError as error:
            self._give_up("_file", self._path, error)

    def _open_events(self, folder: Path, step: int) -> None:
        try:
            from tensorboardX import SummaryWriter

            self._events = SummaryWriter(str(folder), purge_step=step if step else None)
        except Exception as error:
            self._give_up("_events", folder, error)

    def _give_up(self, writer: str, target: Any, error: Exception) -> None:
        _log.warning("metrics are no longer written to %s: %s; training goes on", target, error)
        setattr(self, writer, None)


def read_metrics(path: str | Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Lines of a metrics file, of one kind or all; a last line cut by a crash is left out."""
    records = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if kind is None or record.get("kind") == kind:
            records.append(record)
    return records


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
