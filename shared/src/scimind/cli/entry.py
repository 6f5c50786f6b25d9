"""From a command line to a verb that runs, and from its failures to exit codes."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from scimind.cli.arguments import Arguments, parse
from scimind.cli.log import LOG_FILE, configure
from scimind.cli.sweep import EXIT_INTERRUPTED, run_sweep
from scimind.config import (
    ConfigSource,
    RunConfig,
    bind,
    compose_tree,
    load_resolved,
    to_plain,
)
from scimind.errors import (
    EXIT_ENVIRONMENT,
    EXIT_INTERNAL,
    EXIT_OK,
    ConfigError,
    EnvironmentProblem,
    ScimindError,
)

C = TypeVar("C", bound=RunConfig)

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command(Generic[C]):
    """A verb with its command line; calling it is the ``main()`` of the verb's module.

    Attributes:
        verb: Takes the checked configuration and returns an exit code, or nothing for success.
        schema: Dataclass of the configuration.
        config_package: Package that holds the YAML.
        config_name: Primary YAML file, without its suffix; also the verb's name in the default
            output folder.
        prog: How the command is called: ``python -m`` and the module.
        examples: Pairs of arguments and what they do, for the help page.
    """

    verb: Callable[[C], int | None]
    schema: type[C]
    config_package: str
    config_name: str
    prog: str
    examples: tuple[tuple[str, str], ...] = ()

    @property
    def package(self) -> str:
        """Import name of the package that the command belongs to."""
        return self.config_package.partition(".")[0]

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Parse, compose, check, run.

        Args:
            argv: Arguments without the program's name; ``sys.argv`` when absent.

        Returns:
            The exit code: see `scimind.errors`.
        """
        try:
            return self._dispatch(parse(sys.argv[1:] if argv is None else argv))
        except ScimindError as error:
            _show_traceback(error)
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        except BrokenPipeError:
            # The reader of --help or --cfg has gone, as in `… --help | head`.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_OK
        except Exception as error:
            return _report_unknown(error, None)

    def _dispatch(self, arguments: Arguments) -> int:
        if arguments.help:
            from scimind.cli.help import help_page

            composition = compose_tree(self._source(arguments), arguments.overrides, self.schema)
            page = help_page(self.verb, self.schema, composition, self.prog, self.examples)
            # Flushed here, where a reader that has gone is expected, and not at interpreter exit.
            print(page, flush=True)
            return EXIT_OK
        if arguments.multirun:
            return run_sweep(self, arguments)
        config = self.configuration(arguments, arguments.overrides)
        if arguments.show_config:
            import yaml

            text = yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True)
            print(text, end="", flush=True)
            return EXIT_OK
        if not config.output:
            config.output = str(self.default_output())
        return self.run(config)

    def _source(self, arguments: Arguments) -> ConfigSource:
        return ConfigSource(
            package=self.config_package, name=self.config_name, directories=arguments.config_dirs
        )

    def configuration(self, arguments: Arguments, overrides: Sequence[str]) -> C:
        """Configuration of one run, checked.

        Raises:
            ConfigError: It does not fit the schema.
        """
        if arguments.config_file is None:
            tree = compose_tree(self._source(arguments), overrides, self.schema).tree
            return bind(tree, self.schema)
        config = load_resolved(arguments.config_file, self.schema, overrides)
        if not any(re.match(r"\+*output=", override) for override in overrides):
            # The saved folder holds the saved run.
            config.output = ""
        return config

    def default_output(self) -> Path:
        """Make a new folder ``outputs/<package>/<verb>/<date-time>``.

        It is made at once, so that two runs started in the same second get two folders.

        Raises:
            ConfigError: This is one of several workers, which would each make their own.
            EnvironmentProblem: The folder cannot be made.
        """
        if os.environ.get("MS_ROLE") == "MS_WORKER" and os.environ.get("MS_WORKER_NUM") != "1":
            raise ConfigError("workers of one job share one folder; set output=")
        started = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        folder = Path("outputs", self.package, self.config_name, started)
        number = 2
        while True:
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                folder = folder.with_name(f"{started}_{number}")
                number += 1
            except OSError as error:
                raise EnvironmentProblem(
                    f"cannot make the run folder {folder} ({error.strerror}); "
                    "set output= to a folder that can be written"
                ) from error

    def run(self, config: C) -> int:
        """Run the verb and turn what it raises into an exit code.

        Args:
            config: A checked configuration with its output folder set.
        """
        folder = Path(config.output)
        configure(config.log, folder, self.package)
        try:
            return self.verb(config) or EXIT_OK
        except ScimindError as error:
            _show_traceback(error)
            logger.error("%s", error)
            return error.exit_code
        except KeyboardInterrupt:
            logger.error("interrupted")
            return EXIT_INTERRUPTED
        except MemoryError:
            return _report_environment("out of memory; reduce the batch or the model")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                return _report_unknown(error, folder)
            return _report_environment(f"no space left on the disk of {error.filename or folder}")
        except Exception as error:
            return _report_unknown(error, folder)


def command(
    verb: Callable[[C], int | None],
    *,
    schema: type[C],
    config_package: str,
    config_name: str,
    prog: str,
    examples: Sequence[tuple[str, str]] = (),
) -> Command[C]:
    """Make the ``main()`` of a verb's module.

    Args:
        verb: Takes the checked configuration; returns an exit code, or nothing for success.
        schema: Keyword-only dataclass derived from `scimind.config.RunConfig`.
        config_package: Package that holds the YAML, such as ``"biomol.configs"``.
        config_name: Primary YAML file, such as ``"train"``.
        prog: How the command is called, such as ``"python -m biomol.train"``.
        examples: Pairs of arguments and what they do.
    """
    return Command(
        verb=verb,
        schema=schema,
        config_package=config_package,
        config_name=config_name,
        prog=prog,
        examples=tuple(examples),
    )


def _show_traceback(error: BaseException) -> None:
    if os.environ.get("SCIMIND_TRACEBACK", "") not in ("", "0"):
        traceback.print_exception(error)


def _report_environment(message: str) -> int:
    logger.error("%s", message)
    return EXIT_ENVIRONMENT


def _report_unknown(error: Exception, folder: Path | None) -> int:
    first = str(error).strip().splitlines()[:1]
    line = f"internal error: {type(error).__name__}: {first[0] if first else 'no message'}"
    pointer = "SCIMIND_TRACEBACK=1 shows the traceback"
    if folder is not None:
        log = folder / LOG_FILE
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a", encoding="utf-8") as file:
                file.write("".join(traceback.format_exception(error)))
            pointer = f"traceback in {log}"
        except OSError as unwritable:
            pointer = f"{pointer}; {log} cannot be written: {unwritable.strerror}"
    print(f"{line} ({pointer})", file=sys.stderr)
    _show_traceback(error)
    return EXIT_INTERNAL
