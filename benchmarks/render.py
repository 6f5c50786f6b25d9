"""Write the tables of docs/ops.md from the JSON files beside this script."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "ops.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def made_by(report: dict) -> str:
    hardware = report["hardware"]
    return (
        f"`{report['command']}`, commit {report['commit'][:7]}, {hardware['processor']}, "
        f"{hardware['cores']} cores"
    )


def steps(report: dict) -> list[str]:
    lines = [
        f"{made_by(report)}, load average "
        f"{report['load_average_at_the_start']:.1f} at the start (a shared machine: the minima say "
        "more).",
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
    """Ratios are of CPU time with one thread, which other load moves least, else of wall time."""
    cases: dict[tuple[str, str, str], dict[int, dict]] = {}
    for row in report["results"]:
        key = row["operator"], row["variant"], row["sizes"]
        cases.setdefault(key, {})[row["threads"]] = row
    threads = sorted({row["threads"] for row in report["results"]})
    ceilings = "; ".join(
        f"{count} thread{'s' * (count > 1)}: {max(found['gflops'].values()):.0f} GFLOP/s, "
        + ", ".join(
            f"{bandwidth:.0f} GB/s of {int(size) / 2**20:g} MiB"
            for size, bandwidth in found["memory_gb_s"].items()
        )
        for count, found in ((count, report["ceilings"][str(count)]) for count in threads)
    )
    lines = [
        f"{made_by(report)}, {report['rounds']} rounds in "
        f"{report['sessions']} sessions, load average {report['load_average_at_the_start']:.1f} at "
        "the start: time of our kernel in a graph by that of PyTorch, "
        f"median [95 %], with {' / '.join(map(str, threads))} threads (CPU time with one, else "
        "wall time; above 1.1 in bold), by that of MindSpore's own operator, and the share of the "
        "ceiling: the least time for the operations or for the bytes (M), at the rates of the "
        f"fastest product and of memory. {ceilings}.",
        "",
        "| operator | sizes | forward | forward and backward | by MindSpore's own | of ceiling |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (name, variant, sizes), rows in cases.items():
        found = [rows[count] for count in threads if count in rows]
        cells = [
            " / ".join(_ratio(row, mode) for row in found)
            for mode in ("forward", "forward_backward")
        ]
        own = ", ".join(filter(None, (_own(found[0], m) for m in ("forward", "forward_backward"))))
        share = " / ".join(_share(row) for row in found)
        call = f"{name} {variant}".strip()
        lines.append(f"| {call} | {sizes} | {' | '.join(cells)} | {own or '–'} | {share} |")
    return [*lines, "", *_dispatch(report), ""]


def _ratio(row: dict, mode: str) -> str:
    if "refused" in row:
        return "refused"
    if mode not in row:
        return "–"
    unit = "cpu" if row["threads"] == 1 else "wall"
    ratio, (low, high) = row[mode][f"{unit}_ratio"], row[mode][f"{unit}_ratio_95"]
    text = f"{ratio:.2f}" if low is None else f"{ratio:.2f} [{low:.2f}, {high:.2f}]"
    return f"**{text}**" if ratio > 1.1 else text


def _own(row: dict, mode: str) -> str:
    if mode not in row or "mindspore" not in row[mode]:
        return ""
    kernel, own = (row[mode][column]["cpu_us_min"] for column in ("kernel", "mindspore"))
    return f"{kernel / own:.2f}"


def _share(row: dict) -> str:
    if "refused" in row:
        return "refused"
    found = row["forward"]
    return f"{100 * found['share_of_ceiling']:.0f} %{' M' * (found['bound'] == 'memory')}"


def _dispatch(report: dict) -> list[str]:
    """What a call costs outside a graph, and alone in one."""
    lines = [
        "The graphs above make several calls, as a network does. At the smallest sizes, one "
        "thread, smallest wall time in microseconds of a call:",
        "",
        "| operator | PyTorch | in a graph (calls) | plain in a graph | alone in a graph | eager |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["results"]:
        found = row.get("forward", {})
        if row["threads"] == 1 and "eager" in found and not row["variant"]:
            columns = ("torch", "kernel", "plain", "single", "eager")
            cells = [f"{found[c]['wall_us_min']:.0f}" if c in found else "–" for c in columns]
            cells[1] += f" ({row['calls']})"
            lines.append(f"| {row['operator']} | {' | '.join(cells)} |")
    return lines


def parts(report: dict) -> list[str]:
    shapes = report["shapes"]
    lines = [
        f"{made_by(report)}, load average "
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


def generation(report: dict) -> list[str]:
    lines = [
        f"{made_by(report)}, load average "
        f"{report['load_average_at_the_start']:.1f} at the start: inference of the same "
        "transformers, the whole prompt of 128 tokens (prefill) or one more token after 128 to "
        "255 (decode).",
        "",
        "| network | sequences | step | threads | wall ms, ours / PyTorch (min) "
        "| wall ratio, median [95 %] | CPU ratio, median [95 %] |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["results"]:
        wall = row["wall_ms"]
        ratios = (
            f"{row[unit]['ratio']:.2f} [{', '.join(f'{x:.2f}' for x in row[unit]['ratio_95'])}]"
            for unit in ("wall_ms", "cpu_ms")
        )
        lines.append(
            f"| {row['shape']['layers']} layers, d={row['shape']['dim']} | {row['shape']['batch']} "
            f"| {row['mode']} | {row['threads']} | {wall['scimind_min']:.2f} / "
            f"{wall['torch_min']:.2f} | {' | '.join(ratios)} |"
        )
    return [*lines, ""]


def default_runs(report: dict) -> list[str]:
    lines = []
    for row in report["results"]:
        before, after = (median(row[f"step_ms_{kernels}"]) for kernels in ("plain", "auto"))
        lines += [
            f"{made_by(report)}: the first {row['steps']} steps "
            f"of the default run of `{row['package']}` take {before:.0f} ms each with MindSpore's "
            f"operators and {after:.0f} ms with ours (ratio {row['step_ms_ratio']:.2f}; CPU time "
            f"of the whole process {row['cpu_s_ratio']:.2f}); the losses differ by "
            f"{row['largest_relative_loss_difference']:.0e} at most.",
            "",
        ]
    return lines


def first_step(report: dict) -> list[str]:
    cold, warm = (
        median(row[kind]["cpu_s"] for row in report["rounds"]) for kind in ("cold", "warm")
    )
    return [
        f"{made_by(report)}: the smoke run from start to report "
        f"takes {cold:.0f} s of CPU time when it compiles its graphs and {warm:.0f} s when they "
        f"are kept (ratio {report['warm_by_cold_cpu']:.2f}; its training part "
        f"{report['warm_by_cold_training_cpu']:.2f}), with the same losses.",
        "",
    ]


SECTIONS = {
    "train_step.json": steps,
    "train_step_one_thread.json": steps,
    "generate.json": generation,
    "step_parts.json": parts,
    "default_runs.json": default_runs,
    "operators.json": operators,
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
