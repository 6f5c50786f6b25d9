"""Unusual machines: no home folder, another locale, strange paths, disks that refuse."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scimind.errors import EXIT_ENVIRONMENT, EnvironmentProblem
from scimind.eval.report import Report
from scimind.eval.writing import write_whole

EVALUATE = """
import sys
from pathlib import Path
from matplotlib.figure import Figure
from scimind.eval.leaderboard import main
from scimind.eval.report import Report
from scimind.reading import read_csv

folder = Path(sys.argv[1])
rows = list(read_csv(next(folder.glob("*.csv"))))
assert rows == [(2, {"name": "Säure", "wert": "1.5"}), (3, {"name": "分子", "wert": "2"})], rows
report = Report("分子 – Säure")
figure = Figure()
figure.subplots().plot([0, 1])
report.add_figure("Bild", figure, alt="eine Linie")
report.write(folder / "report.html")
code = main([str(folder), "--write", str(folder / "README_CN.md")])
assert code == 0, code
"""


def test_everything_works_without_home_and_utf8_in_a_path_with_blanks_and_chinese(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "Meine Daten 数据"
    folder.mkdir()
    table = "\ufeffname,wert\r\nSäure,1.5\r\n分子,2\r\n"
    (folder / "Tabelle 分子.csv").write_bytes(table.encode())
    markers = "标题\n<!-- results:begin -->\n<!-- results:end -->\n"
    (folder / "README_CN.md").write_text(markers, encoding="utf-8")
    kept = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    # PYTHONCOERCECLOCALE would turn the C locale into UTF-8 again.
    environment |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    script = tmp_path / "evaluate.py"
    script.write_text(EVALUATE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        capture_output=True,
        check=False,
        env=environment,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert "分子 – Säure" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_an_environment_error_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    for path in (file / "report.html", Path("/proc/report.html"), tmp_path / ("n" * 300)):
        with pytest.raises(EnvironmentProblem, match="cannot be written") as caught:
            Report("title").write(path)
        assert caught.value.exit_code == EXIT_ENVIRONMENT
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


FULL = """
import resource, signal, sys
from pathlib import Path
from scimind.errors import EnvironmentProblem
from scimind.eval.writing import write_whole
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_whole(Path(sys.argv[1]), "new" * 1000)
except EnvironmentProblem as error:
    print(error)
"""


def test_a_full_disk_leaves_the_previous_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_whole(path, "previous")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True
    )
    assert "cannot be written" in done.stdout
    assert path.read_text(encoding="utf-8") == "previous"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_a_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "report.html"
    target.write_text("precious", encoding="utf-8")
    link.symlink_to(target)
    write_whole(link, "report")
    assert target.read_text(encoding="utf-8") == "precious"
    assert not link.is_symlink()
