"""Tables in READMEs, generated from result files and nothing else."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scimind.eval import BaselineRow, Failure, MetricValue, Result
from scimind.eval.leaderboard import main


def value(score: float | None, direction: str = "lower") -> MetricValue:
    return MetricValue(
        value=score,
        ci_low=None if score is None else score - 0.1,
        ci_high=None if score is None else score + 0.1,
        n=113,
        method="bca bootstrap over items, 95 %, 1000 resamples",
        direction=direction,
        unit="log mol/L",
    )


def result(model: str = "tiny", score: float = 1.0, **changes: object) -> Result:
    base = Result(
        task="esol", version="1.0", split="scaffold-test", data_digest="ab" * 32, primary="rmse",
        items=113, metrics={"rmse": value(score)},
        baselines=[BaselineRow(name="mean", kind="trivial", metrics={"rmse": value(2.315)})],
        failures=[], excluded=0, rejected=[], model=model, parameters=1_234_567,
        checkpoint_hash="", config_hash="c", commit="d" * 40, dirty=False,
        hardware={"processor": "EPYC", "cores": "2"}, versions={}, precision="fp32", seed=0,
        seconds_wall=1.0, seconds_cpu=1.0, date="2026-01-01T00:00:00+00:00", command="x", notes=[],
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


README = "# Title\n\n<!-- results:begin -->\nstale text\n<!-- results:end -->\n\nafter\n"


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_text(README, encoding="utf-8")
    (tmp_path / "README_CN.md").write_text(README, encoding="utf-8")
    return path


def test_the_table_shows_models_baselines_intervals_and_links(readme: Path) -> None:
    folder = readme.parent / "results"
    result().save(folder / "esol tiny.json")
    result("large", 0.5).save(folder / "b.json")
    assert main([str(folder), "--write", str(readme), str(readme.with_name("README_CN.md"))]) == 0
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("# Title\n\n<!-- results:begin -->\n")
    assert text.endswith("<!-- results:end -->\n\nafter\n")
    assert "stale text" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [row.split("|")[1].split()[0] for row in rows[2:]] == ["large", "tiny", "*mean*"]
    assert r"[1 \[0.9, 1.1\]](results/esol%20tiny.json)" in rows[3]
    assert "2.315" in rows[4]
    assert len({row.replace(r"\|", "").count("|") for row in rows}) == 1
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert all((readme.parent / link.replace("%20", " ")).is_file() for link in links)
    chinese = readme.with_name("README_CN.md").read_text(encoding="utf-8")
    assert "平凡基线" in chinese
    assert "trivial baseline" not in chinese


def test_check_fails_until_the_tables_are_written_again(readme: Path) -> None:
    folder = readme.parent / "results"
    result().save(folder / "a.json")
    arguments = [str(folder), "--write", str(readme)]
    assert main([*arguments, "--check"]) == 2
    assert readme.read_text(encoding="utf-8") == README
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0
    result(score=0.9).save(folder / "a.json")
    assert main([*arguments, "--check"]) == 2


@pytest.mark.parametrize("change", [{"data_digest": "00"}, {"version": "1.1"}, {"split": "random"}])
def test_rows_of_other_data_version_or_split_are_refused(
    readme: Path, change: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = readme.parent / "results"
    result().save(folder / "a.json")
    result("other", **change).save(folder / "b.json")
    assert main([str(folder), "--write", str(readme)]) == 2
    error = capsys.readouterr().err
    assert "not comparable" in error
    assert next(iter(change.values())) in error
    assert readme.read_text(encoding="utf-8") == README


def test_seeds_become_one_row_with_their_spread_and_old_commits_are_no_seeds(readme: Path) -> None:
    folder = readme.parent / "results"
    for seed, score in enumerate([1.0, 1.2, 1.4]):
        result(score=score, seed=seed).save(folder / f"{seed}.json")
    old = result(score=9.0, seed=0, date="2025-01-01T00:00:00+00:00", commit="e" * 40)
    old.save(folder / "old.json")
    main([str(folder), "--write", str(readme)])
    rows = [line for line in readme.read_text(encoding="utf-8").splitlines() if "tiny" in line]
    assert len(rows) == 1
    assert (
        "1.2 ± 0.2 (seeds [0](results/0.json) [1](results/1.json) [2](results/2.json))" in rows[0]
    )


def test_a_score_that_leaves_items_out_ranks_last_and_says_so(readme: Path) -> None:
    folder = readme.parent / "results"
    failures = [Failure(item="a", reason="b")]
    result("picky", 0.1, failures=failures, excluded=1).save(folder / "a.json")
    result("honest", 1.0).save(folder / "b.json")
    main([str(folder), "--write", str(readme)])
    text = readme.read_text(encoding="utf-8")
    assert text.index("| honest") < text.index("| picky")
    assert "picky (items without a prediction are left out of this score)" in text


def test_names_cannot_break_the_table(readme: Path) -> None:
    folder = readme.parent / "results"
    result("a | b <script> [x](y) `c`\nd").save(folder / "a.json")
    main([str(folder), "--write", str(readme)])
    row = next(line for line in readme.read_text(encoding="utf-8").splitlines() if "script" in line)
    assert r"a \| b \<script\> \[x\](y) \`c\` d" in row


@pytest.mark.parametrize(
    "text", ["no markers", "<!-- results:end --> <!-- results:begin -->", README + README]
)
def test_missing_or_repeated_markers_are_an_error(readme: Path, text: str) -> None:
    result().save(readme.parent / "results" / "a.json")
    readme.write_text(text, encoding="utf-8")
    assert main([str(readme.parent / "results"), "--write", str(readme)]) == 2
    assert readme.read_text(encoding="utf-8") == text


def test_the_command_runs_without_mindspore(readme: Path) -> None:
    result().save(readme.parent / "results" / "a.json")
    code = (
        "import sys; from scimind.eval.leaderboard import main; "
        f"code = main([{str(readme.parent / 'results')!r}]); "
        "sys.exit(code or 10 * ('mindspore' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "esol" in done.stdout
