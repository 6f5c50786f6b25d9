"""The few options beside ``key=value``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from scimind.errors import ConfigError

OPTIONS = (
    ("-h, --help", "show this page; with key=value, show it for that configuration"),
    ("--cfg", "print the resolved configuration and stop"),
    ("-cd, --config-dir DIR", "folder with more YAML groups; may be given several times"),
    ("--config-file FILE", "start from a saved config.yaml instead of the groups"),
    ("-m, --multirun", "run every combination of comma lists (seed=0,1), one after the other"),
)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A parsed command line.

    Attributes:
        help: Show the help page.
        show_config: Print the configuration instead of running.
        multirun: Expand comma lists.
        config_dirs: Folders with further groups.
        config_file: A saved configuration to start from.
        overrides: The ``key=value`` words, in order.
    """

    help: bool
    show_config: bool
    multirun: bool
    config_dirs: tuple[str, ...]
    config_file: str | None
    overrides: tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see --help")


def parse(argv: Sequence[str]) -> Arguments:
    """Split a command line into options and overrides.

    Raises:
        ConfigError: An option is unknown or lacks its value, or a word is no ``key=value``.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--cfg", action="store_true")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-cd", "--config-dir", action="append", default=[])
    parser.add_argument("--config-file")
    parser.add_argument("overrides", nargs="*")
    found = parser.parse_intermixed_args(list(argv))
    overrides = list(found.overrides)
    # Hydra spells it `--cfg job`.
    if found.cfg and "job" in overrides:
        overrides.remove("job")
    if found.config_file and (found.config_dir or found.multirun):
        raise ConfigError("--config-file is complete: it takes neither --config-dir nor -m")
    return Arguments(
        help=found.help,
        show_config=found.cfg,
        multirun=found.multirun,
        config_dirs=tuple(found.config_dir),
        config_file=found.config_file,
        overrides=tuple(overrides),
    )
