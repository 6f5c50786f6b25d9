"""``-m``: every combination of comma lists, one after the other."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from scimind.cli.arguments import Arguments
from scimind.config import RunConfig, expand_sweep
from scimind.errors import EXIT_OK, EXIT_TERMINATED, ConfigError

if TYPE_CHECKING:
    from scimind.cli.entry import Command

C = TypeVar("C", bound=RunConfig)

EXIT_INTERRUPTED = 130


def run_sweep(command: Command[C], arguments: Arguments) -> int:
    """Check every combination, then run each as a command of its own in a folder of its own.

    A fresh process, because device, threads and precision cannot change once MindSpore runs, and
    because a run that dies must not take the others with it.

    Args:
        command: The command.
        arguments: Its command line.

    Returns:
        0, or the first exit code that was not.

    Raises:
        ConfigError: Any combination is wrong; nothing has run then.
    """
    runs = expand_sweep(arguments.overrides)
    if arguments.show_config:
        raise ConfigError("--cfg shows one configuration; leave out -m")
    configs = [command.configuration(arguments, overrides) for overrides in runs]
    # One folder above the runs that were given none of their own.
    start = command.default_output() if any(not config.output for config in configs) else Path()
    codes: dict[str, int] = {}
    for number, (overrides, config) in enumerate(zip(runs, configs, strict=True)):
        label = _label([word for word in overrides if any(word not in run for run in runs)])
        config.output = str(Path(config.output or start) / f"{number}{label}")
        print(f"run {number + 1} of {len(runs)}: {config.output}", file=sys.stderr)
        words = [*overrides, "output='" + config.output.replace("'", "\\'") + "'"]
        codes[config.output] = _run_apart(_command_line(command, arguments, words))
    failed = {output: code for output, code in codes.items() if code != EXIT_OK}
    print(f"{len(codes) - len(failed)} of {len(codes)} runs succeeded", file=sys.stderr)
    for output, code in failed.items():
        print(f"  exit code {code}: {output}", file=sys.stderr)
    return next(iter(failed.values()), EXIT_OK)


def _command_line(command: Command[C], arguments: Arguments, words: list[str]) -> list[str]:
    """``python -m biomol.train …`` with this interpreter."""
    folders = [f"--config-dir={folder}" for folder in arguments.config_dirs]
    return [sys.executable, *command.prog.split()[1:], *folders, *words]


def _run_apart(line: list[str]) -> int:
    process = subprocess.Popen(line)
    stopped = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # Popen.wait holds a lock while the signal arrives: only the call below may wait.
        nonlocal stopped
        stopped = True
        process.terminate()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # The terminal has sent it to the run as well, which may be saving its state.
        process.wait()
        raise SystemExit(EXIT_INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    if stopped:
        raise SystemExit(EXIT_TERMINATED)
    return 128 - code if code < 0 else code


def _label(words: list[str]) -> str:
    text = re.sub(r"[^A-Za-z0-9._=+-]+", "-", ",".join(words))[:80]
    return f"_{text}" if text else ""
