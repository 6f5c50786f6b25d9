"""Where messages go: the terminal, and ``log.txt`` in the folder of the run."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TextIO

from scimind.config import LogConfig

LOG_FILE = "log.txt"
# MindSpore's own scale: 1 information, 2 warnings, 3 errors only.
_MINDSPORE_LEVEL = {"debug": "1", "info": "3", "warning": "3", "error": "3"}


class _TerminalHandler(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is at that moment, so a live progress bar can step aside."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        pass


def configure(config: LogConfig, folder: Path, package: str) -> None:
    """Send messages of `scimind` and of one package to the terminal and the run folder.

    Other libraries are heard from warnings up. The file is opened at the first message and
    appended to, so a resumed run continues the log of its folder.

    Args:
        config: Levels.
        folder: Folder of the run; need not exist yet.
        package: Import name of the package whose command runs.
    """
    os.environ.setdefault("GLOG_v", _MINDSPORE_LEVEL[config.level])
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old, _TerminalHandler | _RunFileHandler):
            root.removeHandler(old)
            old.close()
    terminal = _TerminalHandler()
    terminal.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    written = _RunFileHandler(folder / LOG_FILE)
    written.setFormatter(
        logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    )
    root.addHandler(terminal)
    root.addHandler(written)
    root.setLevel(logging.WARNING)
    # A verb that runs by ``python -m`` is the module ``__main__``.
    for name in ("scimind", package, "__main__"):
        logging.getLogger(name).setLevel(config.level.upper())
    logging.captureWarnings(True)


class _RunFileHandler(logging.FileHandler):
    """Makes the folder at the first message; a folder that cannot be written is said once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="a", encoding="utf-8", delay=True)
        self.failed = False

    def emit(self, record: logging.LogRecord) -> None:
        if self.failed:
            return
        try:
            if self.stream is None:
                Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
                self.stream = self._open()
            super().emit(record)
        except OSError as error:
            self.failed = True
            print(f"no log is written to {self.baseFilename}: {error.strerror}", file=sys.stderr)

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self.failed = True
            print(f"no log is written to {self.baseFilename}: {error.strerror}", file=sys.stderr)
        else:
            super().handleError(record)
