"""The HTML report stands alone, is well formed, and shows text as text."""

import base64
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from scimind.errors import InputError
from scimind.eval import Baseline, Failure, Item, ModelFacts, Task, TaskData, run
from scimind.eval import metrics as scores
from scimind.eval.plots import curve_panel, predicted_against_true, read_curves
from scimind.eval.report import Report
from scimind.eval.result_report import write_report

VOID = {"meta", "img", "br", "hr", "link", "input"}
EVIL = '<script>alert("1")</script> & \' " $\\frac{'


class Page(HTMLParser):
    """Checks nesting, and collects tags and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_text_is_escaped_and_every_figure_has_an_alternative(tmp_path: Path) -> None:
    report = Report(EVIL, subtitle=EVIL)
    report.add_text(EVIL, EVIL, warning=True)
    report.add_table(
        EVIL, [EVIL, "n"], [[EVIL, 1234567], [None, 0.123456], [True, 2]], caption=EVIL
    )
    report.add_facts(EVIL, {EVIL: EVIL})
    figure = Figure()
    figure.subplots().plot([0, 1])
    report.add_figure(EVIL, figure, alt=EVIL, caption=EVIL)
    file = tmp_path / "a&b.csv"
    file.write_text("x\n", encoding="utf-8")
    report.add_downloads(EVIL, [file])
    page = Page(report.html())
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(EVIL) >= 9
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [image["alt"] for image in images] == [EVIL]
    header, _, data = images[0]["src"].partition(",")
    assert header == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")
    link = next(a for tag, a in page.tags if tag == "a" and "download" in a)
    assert link["download"] == "a&b.csv"
    assert base64.b64decode(link["href"].partition(",")[2]) == b"x\n"
    with pytest.raises(ValueError, match="text alternative"):
        report.add_figure("x", figure, alt=" ")
    with pytest.raises(ValueError, match="columns"):
        report.add_table("x", ["a"], [[1, 2]])


def test_the_page_asks_the_network_for_nothing() -> None:
    report = Report("title")
    report.add_text("section", "text")
    page = Page(report.html())
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            if address := attributes.get(name):
                assert address.startswith(("data:", "#")), (tag, address)
    assert "url(" not in report.html()
    policy = next(a for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")


def test_numbers_are_shown_with_four_digits_and_long_tables_are_counted() -> None:
    report = Report("title")
    report.add_table("s", ["a", "b"], [[1234567, 0.123456]] * 205)
    page = Page(report.html())
    assert "1,234,567" in page.text
    assert "0.1235" in page.text
    assert "… and 5 more rows." in page.text


class Identity(Task):
    """Ten points; predicts the input."""

    name, version, split, primary = EVIL, "1", "all", "rmse"

    def load(self, data_root: Path) -> TaskData:
        items = [Item(name=f"{EVIL}{k}", inputs=k, target=k + 0.5) for k in range(10)]
        return TaskData(items=items, digest="0")

    def metrics(self):
        return (scores.rmse("$x"),)

    def baselines(self):
        return (Baseline(name=EVIL, kind="trivial", predict=lambda d: [0.0] * len(d.items)),)

    def predict(self, model, items):
        return [Failure(item="", reason=EVIL) if i.inputs == 3 else i.inputs for i in items]


def test_the_report_of_an_evaluation_holds_scores_failures_curves_and_provenance(
    tmp_path: Path,
) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step":0,"loss":2.0,"lr":1e-3}\n{"step":1,"loss":1.0}\n{"st', encoding="utf-8")
    facts = ModelFacts(model=EVIL, parameters=5, notes=(EVIL,), command=EVIL)
    evaluation = run(Identity(), None, tmp_path, facts)
    path = tmp_path / "report.html"
    write_report([evaluation], path, title="t", metrics_log=log, downloads=[log])
    page = Page(path.read_text(encoding="utf-8"))
    assert "0.5 [0.5, 0.5]" in page.text
    assert "1 of 10 items have no prediction" in page.text
    assert evaluation.result.commit[:10] in page.text
    alternatives = [a["alt"] for tag, a in page.tags if tag == "img"]
    assert len(alternatives) == 4
    assert any("loss from 2 to 1" in alternative for alternative in alternatives)
    assert [entry.name for entry in tmp_path.glob(".report*")] == []


def test_curves_survive_a_cut_last_line_and_refuse_a_damaged_one(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text(
        '{"step":0,"loss":2}\n\n{"note":"x"}\n{"step":1,"loss":NaN}\n{"ste', encoding="utf-8"
    )
    curves = read_curves(log)
    assert curves["loss"][0] == [0.0, 1.0]
    _, alt = curve_panel(curves, ["loss"], "Loss")
    assert "loss from 2 to 2" in alt
    with pytest.raises(ValueError, match="no curves"):
        curve_panel(curves, ["absent"], "x")
    log.write_text('{"step":0,"loss":2}\n{"ste\n{"step":1,"loss":1}\n', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_curves(log)
    assert caught.value.line == 2


def test_the_scatter_states_the_distance_from_the_diagonal() -> None:
    targets = np.array([0.0, 1.0, np.nan])
    _, alt = predicted_against_true(targets + 2.0, targets, quantity="solubility", unit="log mol/L")
    assert alt == (
        "Predicted over true solubility of 2 items; root mean square distance from the diagonal "
        "2 log mol/L."
    )
