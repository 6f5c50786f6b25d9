"""Verdicts of a check on one file, as the worker sends them.

``read``: accepted, and everything in the file is in a record or reported as dropped.
``refused``: a typed error that names the file and the rule.
``loss``: accepted, but something vanished without a word.
``untyped``: refused, but the error does not name the file or the rule.
(The parent adds ``traceback``, ``crash`` and ``hang``.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from scimind.errors import ConfigError, InputError


def judge(path: Path, read: Callable[[Path], tuple[Counter, list[str]]]) -> dict:
    """Runs ``read``, which returns the rules of dropped records and a list of losses."""
    try:
        rules, losses = read(path)
    except InputError as error:
        named = error.path == str(path) and error.rule not in ("", "input")
        if not named or not error.message.strip() or "\n" in str(error):
            return {"outcome": "untyped", "detail": f"{error!s:.300}", "where": f"{error.rule}"}
        return {"outcome": "refused", "rules": {error.rule: 1}}
    except ConfigError as error:
        if str(path) not in str(error) or "Traceback" in str(error):
            return {"outcome": "untyped", "detail": f"{error!s:.300}"}
        return {"outcome": "refused", "rules": {"config": 1}}
    if losses:
        return {"outcome": "loss", "detail": "; ".join(losses)[:600]}
    return {"outcome": "read", "rules": dict(rules)}
