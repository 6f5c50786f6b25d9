"""``python -m scimind.doctor``: what is wrong with this environment, and the line that mends it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from scimind.doctor.checks import Finding, examine
from scimind.doctor.facts import Facts, gather
from scimind.errors import EXIT_ENVIRONMENT, EXIT_OK


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the findings; 0 without an error among them, else 4."""
    parser = argparse.ArgumentParser(prog="python -m scimind.doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print facts and findings as JSON")
    parser.add_argument(
        "--quick", action="store_true", help="do not try to import NumPy and MindSpore"
    )
    arguments = parser.parse_args(argv)
    facts = gather(probe_imports=not arguments.quick)
    findings = examine(facts)
    ok = not any(finding.severity == "error" for finding in findings)
    if arguments.json:
        report = {
            "ok": ok,
            "findings": [asdict(finding) for finding in findings],
            "facts": asdict(facts),
        }
        print(json.dumps(report, indent=2))
    else:
        _show(facts, findings)
    return EXIT_OK if ok else EXIT_ENVIRONMENT


def _show(facts: Facts, findings: Sequence[Finding]) -> None:
    # A locale that cannot write a character must not stop the report about the locale.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    print(_summary(facts))
    if not findings:
        print("no problem found")
        return
    try:
        _table(findings)
    # Whatever a broken installation of rich raises, the plain lines must come.
    except Exception:
        for finding in findings:
            print(f"{finding.severity}: {finding.topic}: {finding.found}\n  mend: {finding.fix}")
    errors = sum(finding.severity == "error" for finding in findings)
    print(f"{errors} error(s), {len(findings) - errors} warning(s)")


def _summary(facts: Facts) -> str:
    python = ".".join(map(str, facts.python))
    versions = ", ".join(
        f"{name} {facts.packages.get(name, 'missing')}"
        for name in ("scimind", "mindspore", "numpy", "protobuf")
    )
    tried = ", ".join(
        f"{name} {'works' if outcome.ok else 'FAILS'} ({outcome.seconds:.1f} s)"
        for name, outcome in facts.imports.items()
    )
    memory = "?" if facts.memory_bytes is None else f"{facts.memory_bytes / 2**30:.1f}"
    ascend = "none" if facts.ascend is None else f"CANN {facts.ascend.cann}"
    return (
        f"Python {python} on {facts.system} {facts.machine}, {facts.cores} cores, {memory} GiB "
        f"available, Ascend: {ascend}\n{versions}\nimports: {tried or 'not tried'}"
    )


def _table(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "topic", "found", "the line that mends it", show_lines=True)
    for finding in findings:
        style = "bold red" if finding.severity == "error" else "yellow"
        table.add_row(
            Text(finding.severity, style), Text(finding.topic), Text(finding.found),
            Text(finding.fix, "bold"),
        )  # fmt: skip
    console = Console()
    if not console.is_terminal:
        # Not cut to the 80 columns of a pipe: the lines are there to be copied.
        console = Console(width=max(console.width, 160))
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
