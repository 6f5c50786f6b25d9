"""The command line that every verb of every package shares.

Example:
    >>> from scimind.cli import command
    >>> main = command(train, schema=TrainConfig, config_package="biomol.configs",
    ...                config_name="train", prog="python -m biomol.train")
    >>> raise SystemExit(main())
"""

from scimind.cli.entry import Command, command

__all__ = ["Command", "command"]
