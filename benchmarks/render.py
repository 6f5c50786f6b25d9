"""Write the tables of docs/ops.md from the JSON files beside this script."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "ops.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def steps(name: str) -> list[str]:
    path = HERE / name
    if not path.exists():
        return []
    report = json.loads(path.read_text())
    lines = [
        f"`{report['command']}`, commit {report['commit']}, {report['hardware']}, "
        f"load average {report['load_average']:.1f} (a shared machine: the minima say more).",
        "",
        "| step | kernels | threads | wall ms, ours / PyTorch (min) | CPU ms, ours / PyTorch (min) "
        "| CPU ratio, median [95 %] |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["results"]:
        wall, cpu = row["wall_ms"], row["cpu_ms"]
        low, high = cpu["ratio_95"]
        lines.append(
            f"| {row['shape']['layers']} layers, d={row['shape']['dim']} | {row['kernels']} "
            f"| {row['threads']} | {wall['scimind_min']:.0f} / {wall['torch_min']:.0f} "
            f"| {cpu['scimind_min']:.0f} / {cpu['torch_min']:.0f} "
            f"| {cpu['ratio']:.2f} [{low:.2f}, {high:.2f}] |"
        )
    return [*lines, ""]


def operators() -> list[str]:
    path = HERE / "ops.json"
    if not path.exists():
        return []
    report = json.loads(path.read_text())
    lines = [
        f"`{report['command']}`, {report['unit']}, commit {report['commit']}.",
        "",
        "| operator | PyTorch | plain | kernel |",
        "| --- | --- | --- | --- |",
    ]
    for name, row in report["results"].items():
        cells = [f"{a:.1f} / {b:.1f}" for a, b in (row[c] for c in ("torch", "plain", "kernel"))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def main() -> None:
    text = PAGE.read_text()
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    body = [*steps("train_step.json"), *steps("train_step_one_thread.json"), *operators()]
    PAGE.write_text("\n".join([head + BEGIN, "", *body, END]) + tail)


if __name__ == "__main__":
    main()
