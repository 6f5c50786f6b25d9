"""Write the tables of docs/ops.md from the JSON files beside this script."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "ops.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def steps(report: dict) -> list[str]:
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


def operators(report: dict) -> list[str]:
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


def parts(report: dict) -> list[str]:
    shapes = report["shapes"]
    lines = [
        f"`{report['command']}`, commit {report['commit'][:7]}, load average "
        f"{report['load_average']:.1f}: process CPU ms of the same steps, one thread, with all "
        "kernels and with one operator plain (minima; in brackets the loss).",
        "",
        f"| plain | {' | '.join(shapes)} |",
        f"| --- |{' --- |' * len(shapes)}",
    ]
    for variant in next(iter(shapes.values())):
        cells = []
        for found in shapes.values():
            lost = found[variant]["min"] - found["kernels"]["min"]
            cells.append(f"{found[variant]['min']:.0f} ({lost:+.0f})")
        name = {"kernels": "none", "all plain": "all"}.get(variant, variant)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def first_step(report: dict) -> list[str]:
    cold, warm = (
        median(row[kind]["cpu_s"] for row in report["rounds"]) for kind in ("cold", "warm")
    )
    return [
        f"`{report['command']}`, commit {report['commit'][:7]}: the smoke run from start to report "
        f"takes {cold:.0f} s of CPU time when it compiles its graphs and {warm:.0f} s when they "
        f"are kept (ratio {report['warm_by_cold_cpu']:.2f}; its training part "
        f"{report['warm_by_cold_training_cpu']:.2f}), with the same losses.",
        "",
    ]


SECTIONS = {
    "train_step.json": steps,
    "train_step_one_thread.json": steps,
    "step_parts.json": parts,
    "ops.json": operators,
    "first_step.json": first_step,
}


def main() -> None:
    text = PAGE.read_text()
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    body: list[str] = []
    for name, section in SECTIONS.items():
        if (HERE / name).exists():
            body += section(json.loads((HERE / name).read_text()))
    PAGE.write_text("\n".join([head + BEGIN, "", *body, END]) + tail)


if __name__ == "__main__":
    main()
