"""The errors a user can cause, with the exit code that each one ends a command with.

Every message gives the value that was found, the rule it breaks and the way out.
"""

from pathlib import Path

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_INPUT = 2
EXIT_NUMERICS = 3
EXIT_ENVIRONMENT = 4
EXIT_TERMINATED = 143


class ScimindError(Exception):
    """Base of every error that is shown to the user without a traceback."""

    exit_code: int = EXIT_INTERNAL


class ConfigError(ScimindError):
    """A configuration key, type or value is wrong."""

    exit_code = EXIT_INPUT


class InputError(ScimindError):
    """An input file or record breaks a rule of its format.

    Args:
        message: The value found, the rule, and the way out.
        path: The file, when there is one.
        line: One-based line (or record) number, when it is known.
        rule: A short stable identifier such as ``"cif.syntax"``, used in failure reports.
    """

    exit_code = EXIT_INPUT

    def __init__(
        self,
        message: str,
        *,
        path: str | Path | None = None,
        line: int | None = None,
        rule: str = "input",
    ) -> None:
        self.message = message
        self.path = None if path is None else str(path)
        self.line = line
        self.rule = rule
        where = "" if path is None else f"{path}:{line}: " if line is not None else f"{path}: "
        super().__init__(f"{where}{message} [{rule}]")


class CheckpointError(ScimindError):
    """A checkpoint is missing, damaged, or belongs to another model."""

    exit_code = EXIT_INPUT


class RunLockedError(ScimindError):
    """Another process is using the run folder."""

    exit_code = EXIT_INPUT


class NumericsError(ScimindError):
    """Training met NaN or infinite values more often than the policy allows."""

    exit_code = EXIT_NUMERICS


class EnvironmentProblem(ScimindError):
    """The machine lacks something: a library version, a device, permission, disk, memory."""

    exit_code = EXIT_ENVIRONMENT
