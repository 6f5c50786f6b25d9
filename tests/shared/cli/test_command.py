from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

# Half a second alone; the margin is for machines that do other work at the same time.
HELP_CPU_SECONDS = 1.5
MISTAKE_CPU_SECONDS = 3.0


def only_folder(parent: Path) -> Path:
    (folder,) = parent.iterdir()
    return folder


def test_a_run_leaves_its_configuration_log_and_provenance_in_a_dated_folder(
    run, tmp_path: Path
) -> None:
    answer = run("seed=4")
    assert (answer.returncode, answer.stdout) == (0, "")
    folder = only_folder(tmp_path / "outputs" / "toy" / "work")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["seed"], config["model"]["width"]) == (4, 8)
    assert "seed 4" in (folder / "log.txt").read_text()
    record = json.loads((folder / "provenance.json").read_text())
    assert (record["seed"], record["arguments"]) == (4, ["seed=4"])
    assert record["finished"] is not None


def test_the_same_run_can_be_repeated_from_its_saved_configuration(run, tmp_path: Path) -> None:
    assert run("model=wide", "steps=9", "output=first").returncode == 0
    assert run("--config-file", "first/config.yaml").returncode == 0
    second = only_folder(tmp_path / "outputs" / "toy" / "work")
    configs = [
        yaml.safe_load((folder / "config.yaml").read_text())
        for folder in (tmp_path / "first", second)
    ]
    assert configs[1].pop("output") != configs[0].pop("output")
    assert configs[0] == configs[1]
    hashes = [
        json.loads((folder / "provenance.json").read_text())["config_sha256"]
        for folder in (tmp_path / "first", second)
    ]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fail=input"], 2, "a.cif:3: no such residue [cif.residue]"),
        (["fail=numerics"], 3, "loss is NaN at step 3"),
        (["fail=memory"], 4, "out of memory"),
        (["fail=code"], 7, ""),
        (["fail=bug"], 1, "internal error: KeyError: 'missing' (traceback in outputs/toy/work"),
        (["stesp=3"], 2, "did you mean steps"),
        (["steps=many"], 2, "steps='many'"),
        (["-x"], 2, "-x"),
        (["-cd", "nowhere"], 2, "nowhere does not exist"),
        (["--config-file", "nowhere.yaml"], 2, "nowhere.yaml"),
    ],
)
def test_a_failure_ends_with_its_code_and_one_line_without_traceback(
    run, arguments: list[str], code: int, message: str
) -> None:
    answer = run(*arguments)
    assert answer.returncode == code
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr + answer.stdout


def test_a_configuration_mistake_is_told_at_once_and_creates_no_folder(run, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run("steps=many").returncode == 2
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < MISTAKE_CPU_SECONDS
    assert list(tmp_path.iterdir()) == []


def test_the_traceback_of_a_bug_is_in_the_log_and_on_request_on_the_terminal(
    run, tmp_path: Path
) -> None:
    answer = run("fail=bug", "output=here", SCIMIND_TRACEBACK="1")
    assert "Traceback" in answer.stderr
    assert 'return {}["missing"]' in (tmp_path / "here" / "log.txt").read_text()


def test_an_output_folder_that_cannot_be_made_is_an_environment_problem(
    run, tmp_path: Path
) -> None:
    (tmp_path / "outputs").write_text("a file where the folder should be")
    answer = run()
    assert answer.returncode == 4
    assert "set output=" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_cfg_prints_the_configuration_and_runs_nothing(run, tmp_path: Path) -> None:
    for arguments in (["--cfg", "model=wide"], ["--cfg", "job", "model=wide"]):
        answer = run(*arguments)
        assert answer.returncode == 0
        assert yaml.safe_load(answer.stdout)["model"] == {"width": 64}
    assert list(tmp_path.iterdir()) == []


def test_a_private_folder_of_groups_is_found(run, tmp_path: Path) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "huge.yaml").write_text("width: 512\n")
    answer = run("--cfg", "-cd", "mine", "model=huge")
    assert yaml.safe_load(answer.stdout)["model"] == {"width": 512}


@pytest.mark.parametrize(
    ("level", "shown", "hidden"),
    [("debug", "details", "chatter"), ("info", "seed 0", "details"), ("error", "", "seed 0")],
)
def test_the_log_level_decides_what_is_shown(run, level: str, shown: str, hidden: str) -> None:
    answer = run(f"log.level={level}")
    assert shown in answer.stderr
    assert hidden not in answer.stderr


def test_python_warnings_reach_the_log(run, tmp_path: Path) -> None:
    assert run("fail=warn", "output=here").returncode == 0
    assert "look out" in (tmp_path / "here" / "log.txt").read_text()


def test_help_names_fields_groups_choices_and_examples(run) -> None:
    answer = run("--help", "model=wide")
    assert answer.returncode == 0
    for part in (
        "usage: python -m toy.work",
        "Work for a while.",
        "model=wide",
        "one of narrow, wide",
        "model.width=64",
        "it needs a second line",
        "one of cpu, ascend",
        "one of fp32, fp16, bf16",
        "a wider network",
    ):
        assert part in " ".join(answer.stdout.split())
    assert max(map(len, answer.stdout.splitlines())) <= 100


def test_help_answers_within_its_time_and_without_mindspore(toy: Path) -> None:
    code = (
        "import sys, time; sys.argv = ['work', '--help']; from toy.work import main; main();"
        "heavy = [m for m in ('mindspore', 'pandas', 'matplotlib') if m in sys.modules];"
        "print(heavy, time.process_time(), file=sys.stderr)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(toy), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    heavy, seconds = answer.stderr.rsplit(maxsplit=1)
    assert heavy == "[]"
    assert float(seconds) < HELP_CPU_SECONDS


def test_a_closed_pipe_ends_help_quietly(toy: Path, tmp_path: Path) -> None:
    command = f"{sys.executable} -m toy.work --help | true"
    answer = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={"PYTHONPATH": str(toy), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stderr == ""


def test_a_sweep_runs_every_combination_in_its_own_folder(run, tmp_path: Path) -> None:
    answer = run("-m", "seed=0,1", "model=narrow,wide", "steps=2", "output=sweep")
    assert answer.returncode == 0, answer.stderr
    found = {
        (config["seed"], config["model"]["width"], Path(config["output"]).name)
        for path in (tmp_path / "sweep").glob("*/config.yaml")
        for config in [yaml.safe_load(path.read_text())]
    }
    assert found == {
        (0, 8, "0_seed=0-model=narrow"),
        (0, 64, "1_seed=0-model=wide"),
        (1, 8, "2_seed=1-model=narrow"),
        (1, 64, "3_seed=1-model=wide"),
    }


def test_a_failing_run_does_not_stop_a_sweep_but_decides_its_code(run, tmp_path: Path) -> None:
    answer = run("-m", "fail=numerics,code", "seed=1,2", "output=sweep")
    assert answer.returncode == 3
    assert len(list((tmp_path / "sweep").iterdir())) == 4
    assert "0 of 4 runs succeeded" in answer.stderr


def test_a_mistake_in_any_combination_of_a_sweep_is_found_before_the_first_run(
    run, tmp_path: Path
) -> None:
    answer = run("-m", "steps=1,many")
    assert answer.returncode == 2
    assert "steps='many'" in answer.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sweep", [False, True], ids=["single", "sweep"])
def test_interruption_ends_the_run_and_its_children(toy: Path, tmp_path: Path, sweep: bool) -> None:
    words = ["-m", "seed=0,1"] if sweep else []
    process = subprocess.Popen(
        [sys.executable, "-m", "toy.work", "fail=sleep", *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(toy), "PATH": "/usr/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "asleep\n"
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    code = process.wait(timeout=30)
    # The run itself decides what SIGTERM means (training saves); this one has the default.
    assert code == (143 if sweep else -signal.SIGTERM)
    assert process.stdout.read() == "", "a child has gone on"
    assert time.monotonic() - started < 30


def test_folders_with_quotes_and_spaces_reach_the_runs_of_a_sweep(run, tmp_path: Path) -> None:
    answer = run("-m", "seed=0,1", 'output="it\'s here"')
    assert answer.returncode == 0, answer.stderr
    assert len(list((tmp_path / "it's here").glob("*/config.yaml"))) == 2


def test_workers_of_one_job_do_not_choose_folders_of_their_own(run, tmp_path: Path) -> None:
    worker = {"MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "2", "RANK_ID": "1"}
    answer = run(**worker)
    assert answer.returncode == 2
    assert "set output=" in answer.stderr
    assert list(tmp_path.iterdir()) == []
    assert run("output=given", **worker).returncode == 0
