from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scimind.eval.leaderboard import main as leaderboard

# Folders of one machine. URLs and names such as a/tmp/b are not meant.
MACHINE_PATH = re.compile(r"(?<![\w.:/~-])/(?:work|tmp|root|opt|mnt|Users)/")
CREDENTIAL = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{30,}|https?://[^/\s:@]+:[^/\s@]+@"
)
READMES = ("README.md", "README_CN.md")


def text_of(path: Path) -> str:
    data = path.read_bytes()
    return "" if b"\0" in data else data.decode("utf-8", errors="replace")


def outside_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("open('/tm" + "p/x')", True),
        ("cd /wo" + "rk/main", True),
        ("see https://example.org/work/x", False),
        ("outputs/tmp/x", False),
    ],
)
def test_the_search_for_machine_paths_finds_them(line: str, found: bool) -> None:
    assert bool(MACHINE_PATH.search(line)) is found


def test_no_published_file_names_a_folder_of_one_machine(tracked: list[Path], root: Path) -> None:
    found = [
        f"{path.relative_to(root)}:{number}: {line.strip()[:100]}"
        for path in tracked
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []


def test_no_published_file_holds_a_credential(tracked: list[Path]) -> None:
    assert [path for path in tracked if CREDENTIAL.search(text_of(path))] == []


def test_no_published_file_is_large(tracked: list[Path]) -> None:
    assert [path for path in tracked if path.stat().st_size > 2 << 20] == []


def test_the_lock_file_names_the_public_index_only(root: Path) -> None:
    text = (root / "uv.lock").read_text(encoding="utf-8")
    assert set(re.findall(r'registry = "([^"]+)"', text)) == {"https://pypi.org/simple"}
    hosts = set(re.findall(r'url = "(https?://[^/"]+)', text))
    assert hosts == {"https://files.pythonhosted.org"}


def readme(root: Path, name: str) -> str:
    return (root / name).read_text(encoding="utf-8")


def test_the_two_readmes_have_the_same_code_blocks(root: Path) -> None:
    # Comments in code are translated; commands are not.
    def blocks(name: str) -> list[str]:
        found = re.findall(r"^```.*?^```$", readme(root, name), re.MULTILINE | re.DOTALL)
        return [re.sub(r"\s*#.*$", "", block, flags=re.MULTILINE) for block in found]

    english, chinese = map(blocks, READMES)
    assert english
    assert english == chinese


def test_the_two_readmes_have_the_same_headings_tables_and_links(root: Path) -> None:
    def outline(name: str) -> tuple[list[str], list[int], list[str]]:
        text = outside_code(readme(root, name))
        headings = re.findall(r"^(#+) ", text, re.MULTILINE)
        rows = [line.count("|") for line in text.splitlines() if line.startswith("|")]
        links = sorted(set(re.findall(r"\]\(([^)]+)\)", text)) - set(READMES))
        return headings, rows, links

    assert outline(READMES[0]) == outline(READMES[1])


@pytest.mark.parametrize("name", [*READMES, "CONTRIBUTING.md", "configs/README.md"])
def test_every_local_link_leads_somewhere(root: Path, name: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", outside_code(readme(root, name)))
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert local
    folder = (root / name).parent
    assert [target for target in local if not (folder / target).exists()] == []


@pytest.mark.parametrize("name", READMES)
def test_the_results_table_is_what_the_result_files_say(root: Path, name: str) -> None:
    results = root / "results"
    assert leaderboard([str(results), "--write", str(root / name), "--check"]) == 0


def test_result_files_are_json(root: Path) -> None:
    for path in (root / "results").rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
