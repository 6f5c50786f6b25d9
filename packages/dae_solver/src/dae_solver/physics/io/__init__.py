"""Readers of power system files; each fills a :class:`~dae_solver.physics.case.Case`."""

from __future__ import annotations

import difflib
from importlib.resources import files
from pathlib import Path

from dae_solver.physics.case import Case
from dae_solver.physics.io.andes import read_andes
from dae_solver.physics.io.andes_tables import parse_json
from dae_solver.physics.io.matpower import read_matpower
from dae_solver.physics.io.native import read_native, write_native
from dae_solver.physics.io.psse import read_raw
from scimind.errors import InputError

__all__ = [
    "built_in",
    "read_andes",
    "read_case",
    "read_matpower",
    "read_native",
    "read_raw",
    "write_native",
]

_FORMATS = "ANDES .xlsx or .json, PSS/E .raw (with dyr=), MATPOWER .m (with dyr=), or our own .json"


def built_in() -> dict[str, Path]:
    """Cases that come with the package, by name."""
    folder = Path(str(files("dae_solver.physics.io") / "builtin"))
    return {path.stem: path for path in sorted(folder.glob("*.json"))}


def read_case(path: str | Path, *, dyr: str | Path | None = None) -> Case:
    """A power system from a file, by its suffix and content.

    Args:
        path: A file, or the name of a built-in case.
        dyr: The PSS/E ``.dyr`` beside a ``.raw`` or ``.m``.

    Raises:
        InputError: There is no such file or case, its format is unknown, or it breaks a rule.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".raw", ".m") and dyr is not None:
        raise InputError(
            f"dyr={str(dyr)!r} belongs beside a .raw or .m file; leave it out",
            path=path,
            rule="power.dyr",
        )
    if not path.is_file():
        return read_native(_named(path))
    if suffix == ".raw":
        return read_raw(path, dyr)
    if suffix == ".m":
        return read_matpower(path, dyr)
    if suffix == ".xlsx":
        return read_andes(path)
    if suffix == ".json":
        content = parse_json(path)
        if isinstance(content, dict) and "format" not in content and "Bus" not in content:
            raise InputError(
                'the file is neither ours, which has "format", nor of ANDES, which has the table '
                f"Bus; its keys are: {', '.join(map(str, content)) or 'none':.200}",
                path=path,
                rule="power.format",
            )
        native = isinstance(content, dict) and "format" in content
        return read_native(path) if native else read_andes(path)
    hint = "; it stands beside a .raw: give that, and this as dyr=" if suffix == ".dyr" else ""
    raise InputError(
        f"the suffix {path.suffix!r} is unknown{hint}; what is read: {_FORMATS}",
        path=path,
        rule="power.suffix",
    )


def _named(path: Path) -> Path:
    """The file of a built-in case.

    Raises:
        InputError: There is none of this name.
    """
    cases = built_in()
    if str(path) in cases:
        return cases[str(path)]
    nearest = difflib.get_close_matches(path.stem, cases, 1, 0.5)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise InputError(
        f"there is no file and no built-in case of this name; {hint}built-in cases are: "
        f"{', '.join(cases)}; files that are read: {_FORMATS}",
        path=path,
        rule="file.missing",
    )
