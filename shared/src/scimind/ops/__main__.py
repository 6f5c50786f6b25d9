"""``python -m scimind.ops``: every operator with its rule, kernels and choice on this machine."""

from __future__ import annotations

import argparse
import inspect
import re
from pathlib import Path

from scimind.errors import InputError
from scimind.ops import OPERATORS, registry
from scimind.ops.operator import Operator
from scimind.reading import read_text

BEGIN, END = "<!-- operators: begin -->", "<!-- operators: end -->"


def table() -> str:
    """One row per operator of scimind, in Markdown."""
    lines = [
        "| operator | what | gradient of the kernel | implementations |",
        "| --- | --- | --- | --- |",
    ]
    for name in filter(_ours, sorted(registry.FUNCTIONS)):
        names = []
        for entry in registry.implementations(name):
            names.append(entry.name if entry.verified else f"{entry.name} (not run)")
        declared = OPERATORS.get(name)
        call = f"`{name}`" if declared is None else f"`{_rule(declared)}`"
        lines.append(f"| {call} | {_summary(name)} | {_gradient(declared)} | {', '.join(names)} |")
    return "\n".join(lines)


def _ours(name: str) -> bool:
    """Whether scimind declares it, rather than a program that uses scimind."""
    return registry.FUNCTIONS[name][0].__module__.startswith("scimind.")


def _rule(entry: Operator) -> str:
    return str(entry.rule).replace("|", "\\|")


def _gradient(entry: Operator | None) -> str:
    if entry is None or not entry.kernels:
        return ""
    backward = entry.kernels[0].backward
    if backward is None:
        return "none"
    return ", ".join(name[1:] for name in backward.partition("->")[2].split())


def _summary(name: str) -> str:
    """First sentence of the documentation."""
    text = inspect.getdoc(registry.FUNCTIONS[name][0]) or ""
    text = text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    return re.split(r"(?<=[.;:]) ", text.replace("``", "`"))[0].rstrip(".;:")


def write(path: Path) -> None:
    """Replace the table in a page.

    Raises:
        InputError: The page lacks the marks.
    """
    text = read_text(path)
    if BEGIN not in text or END not in text:
        raise InputError(f"{path} has no {BEGIN} and {END}; add them where the table has to be")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    path.write_text(f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}", encoding="utf-8")


def main() -> None:
    """Print the table, or write it into a page."""
    parser = argparse.ArgumentParser(prog="python -m scimind.ops", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="page with the table's marks")
    options = parser.parse_args()
    if options.write is not None:
        write(options.write)
        return
    print(table())


if __name__ == "__main__":
    main()
