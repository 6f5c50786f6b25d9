"""Markdown tables from ``results/*.json``, written between markers of a README.

``python -m scimind.eval.leaderboard results/ --write README.md README_CN.md`` rewrites the text
between ``<!-- results:begin -->`` and ``<!-- results:end -->``; ``--check`` only compares, for CI.
A file whose name ends in ``_CN.md`` gets Chinese headings.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scimind.errors import EXIT_INPUT, EXIT_OK, InputError, ScimindError
from scimind.eval.result import BaselineRow, MetricValue, Result
from scimind.eval.statistics import over_seeds
from scimind.eval.writing import write_whole
from scimind.reading import read_text

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
Words = Mapping[str, Any]

_ENGLISH: Words = {
    "model": "model",
    "parameters": "parameters",
    "failures": "failed",
    "hardware": "hardware",
    "trivial": "trivial baseline",
    "classical": "classical baseline",
    "published": "published",
    "better": {"higher": "higher is better", "lower": "lower is better"},
    "items": "items",
    "note": "Brackets: 95 % bootstrap interval; ±: standard deviation over seeds. "
    "Each number links to its result file.",
    "unranked": "items without a prediction are left out of this score",
    "dirty": "uncommitted changes",
}
_CHINESE: Words = {
    "model": "模型",
    "parameters": "参数量",
    "failures": "失败数",
    "hardware": "硬件",
    "trivial": "平凡基线",
    "classical": "经典基线",
    "published": "文献值",
    "better": {"higher": "越高越好", "lower": "越低越好"},
    "items": "个样本",
    "note": "方括号为 95 % 自助法置信区间，± 为不同随机种子间的标准差。每个数字链接到其结果文件。",
    "unranked": "该分数未计入没有预测的样本",
    "dirty": "含未提交的修改",
}


@dataclass(frozen=True)
class Entry:
    """A result and the file it came from."""

    result: Result
    path: Path


def load_results(folder: Path) -> list[Entry]:
    """Reads every result file below ``folder``; other JSON files are left alone.

    Raises:
        InputError: The folder is missing, or a result file is damaged.
    """
    if not folder.is_dir():
        raise InputError(
            "the folder of results does not exist", path=folder, rule="results.missing"
        )
    paths = sorted(path for path in folder.rglob("*.json") if '"scimind.result/' in _head(path))
    return [Entry(Result.load(path), path) for path in paths]


def check_comparable(entries: Sequence[Entry]) -> None:
    """Refuses rows of one task whose version, split or data differ.

    Raises:
        InputError: Two results of a task are of different versions, splits or data.
    """
    first: dict[str, Entry] = {}
    for entry in entries:
        reference = first.setdefault(entry.result.task, entry)
        if entry.result.benchmark != reference.result.benchmark:
            names = ("task", "version", "split", "data digest")
            pairs = zip(names, entry.result.benchmark, reference.result.benchmark, strict=True)
            differences = "; ".join(f"{n} {a!r} and {b!r}" for n, a, b in pairs if a != b)
            raise InputError(
                f"not comparable with {reference.path}: {differences}; evaluate both again on the "
                "same task version and data, or remove the older file",
                path=entry.path,
                rule="results.incomparable",
            )


def tables(entries: Sequence[Entry], *, link_root: Path, chinese: bool = False) -> str:
    """One Markdown table per task, baselines included.

    Args:
        entries: Results; those of one model, config and task that differ in the seed become one
            row with mean ± standard deviation.
        link_root: Folder of the Markdown file, which links are relative to.
        chinese: Writes Chinese headings.

    Raises:
        InputError: Results of one task cannot be compared.
    """
    check_comparable(entries)
    words = _CHINESE if chinese else _ENGLISH
    by_task: dict[str, list[Entry]] = {}
    for entry in entries:
        by_task.setdefault(entry.result.task, []).append(entry)
    blocks = [_table(group, link_root, words) for _, group in sorted(by_task.items())]
    return "\n\n".join([*blocks, str(words["note"])]) if blocks else ""


def replace_between_markers(text: str, tables_text: str, path: Path) -> str:
    """``text`` with everything between the markers replaced.

    Raises:
        InputError: The markers are missing, repeated or in the wrong order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputError(
            f"the file must hold {BEGIN} and {END} once each, in this order",
            path=path,
            rule="results.markers",
        )
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n\n{tables_text}\n\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the tables; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scimind.eval.leaderboard", description="Tables from result files."
    )
    parser.add_argument("results", type=Path, help="folder of result files")
    parser.add_argument("--write", type=Path, nargs="+", metavar="README.md", default=[])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    try:
        entries = load_results(options.results)
        stale = [path for path in options.write if _update(path, entries, options.check)]
    except ScimindError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if not options.write:
        print(tables(entries, link_root=Path.cwd()))
    for path in stale:
        print(f"{path}: {'stale, run again without --check' if options.check else 'written'}")
    return EXIT_INPUT if stale and options.check else EXIT_OK


def _update(path: Path, entries: Sequence[Entry], check: bool) -> bool:
    """Whether the file differed; writes it unless only checking."""
    if not path.is_file():
        raise InputError("the file to write into does not exist", path=path, rule="results.target")
    text = read_text(path)
    chinese = path.stem.endswith("_CN")
    wanted = replace_between_markers(
        text, tables(entries, link_root=path.resolve().parent, chinese=chinese), path
    )
    if wanted != text and not check:
        write_whole(path, wanted)
    return wanted != text


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(200).decode("utf-8", errors="replace")


def _table(group: Sequence[Entry], link_root: Path, words: Words) -> str:
    reference = group[0].result
    names = [reference.primary, *(n for n in reference.metrics if n != reference.primary)]
    headings = [
        f"{name}{f' ({m.unit})' if m.unit else ''} {'↑' if m.direction == 'higher' else '↓'}"
        for name in names
        for m in (reference.metrics[name],)
    ]
    lines = [
        f"### {_cell(reference.task)} {_cell(reference.version)}",
        "",
        f"{_cell(reference.split)}, {reference.items} {words['items']}, "
        f"`{reference.data_digest[:12]}`; {_cell(reference.primary)}: "
        f"{words['better'][reference.metrics[reference.primary].direction]}.",
        "",
        "| "
        + " | ".join(
            [
                str(words["model"]),
                *map(_cell, headings),
                str(words["parameters"]),
                str(words["failures"]),
                str(words["hardware"]),
            ]
        )
        + " |",
        "| --- |" + " ---: |" * (len(names) + 2) + " --- |",
    ]
    runs: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in _newest_of_each_seed(group):
        key = (entry.result.model, entry.result.config_hash, entry.result.precision)
        runs.setdefault(key, []).append(entry)
    ranked = sorted(runs.values(), key=lambda entries: _rank(entries, reference.primary))
    lines += [_model_row(entries, names, link_root, words) for entries in ranked]
    # Every result carries the baselines of the same task version and data: the newest file's
    # are shown.
    newest = max(group, key=lambda entry: entry.result.date)
    lines += [
        _baseline_line(row, names, newest, link_root, words) for row in newest.result.baselines
    ]
    return "\n".join(lines)


def _newest_of_each_seed(group: Sequence[Entry]) -> list[Entry]:
    """Results of older commits give way: repeated evaluations of one seed are no new seeds."""
    newest: dict[tuple[str, str, str, int], Entry] = {}
    for entry in sorted(group, key=lambda entry: entry.result.date):
        result = entry.result
        newest[result.model, result.config_hash, result.precision, result.seed] = entry
    return list(newest.values())


def _rank(entries: Sequence[Entry], primary: str) -> tuple[bool, float]:
    """Sort key: complete scores first, then the better primary score."""
    values = [entry.result.metrics[primary].value for entry in entries]
    known = [value for value in values if value is not None]
    if not known:
        return True, 0.0
    sign = -1.0 if entries[0].result.metrics[primary].direction == "higher" else 1.0
    excluded = any(entry.result.excluded for entry in entries)
    return excluded, sign * over_seeds(known).mean


def _model_row(entries: Sequence[Entry], names: Sequence[str], root: Path, words: Words) -> str:
    first = entries[0].result
    label = _cell(first.model)
    if any(entry.result.dirty for entry in entries):
        label += f" ({words['dirty']})"
    if any(entry.result.excluded for entry in entries):
        label += f" ({words['unranked']})"
    cells = [label, *(_score_cell(entries, name, root) for name in names)]
    failures = ", ".join(str(len(entry.result.failures)) for entry in entries)
    processor = first.hardware.get("processor", "")
    hardware = f"{processor}, {first.hardware.get('cores', '?')} cores, {first.precision}"
    return "| " + " | ".join([*cells, f"{first.parameters:,}", failures, _cell(hardware)]) + " |"


def _score_cell(entries: Sequence[Entry], name: str, root: Path) -> str:
    metrics = [entry.result.metrics.get(name) for entry in entries]
    known = [metric.value for metric in metrics if metric is not None and metric.value is not None]
    if not known:
        return "–"
    if len(entries) == 1:
        assert metrics[0] is not None
        return f"[{_text(metrics[0])}]({_link(entries[0].path, root)})"
    summary = over_seeds(known)
    spread = "" if summary.count < 2 else f" ± {summary.deviation:.3g}"
    seeds = " ".join(
        f"[{entry.result.seed}]({_link(entry.path, root)})"
        for entry in sorted(entries, key=lambda entry: entry.result.seed)
    )
    return f"{summary.mean:.4g}{spread} (seeds {seeds})"


def _baseline_line(
    row: BaselineRow, names: Sequence[str], entry: Entry, root: Path, words: Words
) -> str:
    cells = []
    for name in names:
        metric = row.metrics.get(name)
        if metric is None or metric.value is None:
            cells.append("–")
        else:
            cells.append(f"[{_text(metric)}]({_link(entry.path, root)})")
    label = (
        f"*{_cell(row.name)}* ({words[row.kind]}{': ' + _cell(row.source) if row.source else ''})"
    )
    return "| " + " | ".join([label, *cells, "", str(len(row.failures) or ""), ""]) + " |"


def _text(metric: MetricValue) -> str:
    interval = ""
    if metric.ci_low is not None and metric.ci_high is not None:
        interval = f" \\[{metric.ci_low:.4g}, {metric.ci_high:.4g}\\]"
    return f"{metric.value:.4g}{interval}"


def _link(path: Path, root: Path) -> str:
    relative = Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()
    return relative.replace(" ", "%20").replace("(", "%28").replace(")", "%29")


def _cell(text: str) -> str:
    """Text that cannot break out of a Markdown table cell."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in text)
    return " ".join(escaped.split())


if __name__ == "__main__":
    sys.exit(main())
