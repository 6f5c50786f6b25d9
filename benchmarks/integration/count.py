"""Lines of code that connect five operators to MindSpore: its own interface against a declaration.

Counted are the lines that a user writes in Python and C++, tests included: no blank lines, comments
or docstrings, formatted by ruff and clang-format (Google style) at 100 columns. The loops that both
versions share (``arithmetic.h``, ``weighted_mean.h``) are not counted; the plain formulations,
which are the same in both, are. Tokens, which no formatting changes, are counted beside.

    python benchmarks/integration/count.py
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
OPERATORS = ("rope", "swiglu", "paged_attention", "latent_attention", "selected_attention")
OWN = {
    "official": ("official.py", "official.cc", "test_official.py"),
    "declared": ("declared.py", "declared.cc"),
}
SHARED = {"official": ("toolkit.py", "toolkit.h"), "declared": ("test_declared.py",)}
_LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
_CPP_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_CPP_TOKEN = re.compile(r'"[^"\n]*"|[A-Za-z_]\w*|\d[\w.]*|\S')


@dataclass(frozen=True)
class Size:
    """An amount of code."""

    lines: int = 0
    tokens: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.lines + other.lines, self.tokens + other.tokens)


def size_of(path: Path) -> Size:
    """The code of a file without comments and docstrings."""
    text = path.read_text()
    if path.suffix == ".py":
        return _python(text)
    code = _CPP_COMMENT.sub("", text)
    lines = sum(1 for line in code.splitlines() if line.strip())
    return Size(lines, len(_CPP_TOKEN.findall(code)))


def _python(text: str) -> Size:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            docstrings.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines: set[int] = set()
    tokens = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _LAYOUT and token.start[0] not in docstrings:
            lines.update(range(token.start[0], token.end[0] + 1))
            tokens += 1
    return Size(len(lines), tokens)


def plain_formulation(operator: str) -> Size:
    """The body of the plain formulation of an operator."""
    text = (HERE / operator / "official.py").read_text()
    functions = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))
    body = next(function for function in functions if function.name == "plain").body
    return _python("\n".join(ast.unparse(statement) for statement in body[1:]))


def table() -> dict:
    """Lines and tokens of each version: of each operator, of what its five share, of all."""
    rows: dict[str, dict[str, Size]] = {}
    for operator in OPERATORS:
        rows[operator] = {
            version: sum((size_of(HERE / operator / name) for name in names), Size())
            for version, names in OWN.items()
        }
    rows["shared by the five"] = {
        version: sum((size_of(HERE / name) for name in names), Size())
        for version, names in SHARED.items()
    }
    rows["total"] = {
        version: sum((row[version] for row in rows.values()), Size()) for version in OWN
    }
    same = sum(map(plain_formulation, OPERATORS), Size())
    rows["total without plain formulations"] = {
        version: Size(size.lines - same.lines, size.tokens - same.tokens)
        for version, size in rows["total"].items()
    }
    return {
        name: {
            unit: {version: getattr(size, unit) for version, size in row.items()}
            | {
                "ratio": round(
                    getattr(row["declared"], unit) / max(getattr(row["official"], unit), 1), 3
                )
            }
            for unit in ("lines", "tokens")
        }
        for name, row in rows.items()
    }


def files() -> dict[str, int]:
    """Lines of each counted file."""
    names = [name for version in SHARED for name in SHARED[version]]
    names += [
        f"{operator}/{name}" for operator in OPERATORS for own in OWN.values() for name in own
    ]
    return {name: size_of(HERE / name).lines for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE.parent / "integration.json")
    arguments = parser.parse_args()
    sys.path.insert(0, str(HERE.parent))
    from report import report

    rows = table()
    command = " ".join(["python", "benchmarks/integration/count.py", *sys.argv[1:]])
    findings = {"command": command, "results": rows, "lines_of_files": files()}
    what = "lines of code that connect five operators to MindSpore"
    report(__file__, what, findings, arguments.output)
    print("\n| | official | declared | ratio | ratio of tokens |\n| --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        lines, tokens = row["lines"], row["tokens"]
        cells = (lines["official"], lines["declared"], lines["ratio"], tokens["ratio"])
        print(f"| {name} | {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
