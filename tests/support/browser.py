"""Chromium, driven over the WebDriver protocol with nothing but the standard library."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Widths and heights of the window, CSS pixels.
DESKTOP, PHONE = (1280, 900), (390, 844)
STARTS_WITHIN = 60.0


class Browser:
    """One window, whose size is that of a device; a context that ends it.

    Args:
        address: Of the driver.
        size: Width and height of the page, CSS pixels.
    """

    def __init__(self, address: str, size: tuple[int, int]) -> None:
        self.address = address
        self.width, height = size
        options = {
            "args": [
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
            ],
            "mobileEmulation": {
                "deviceMetrics": {
                    "width": self.width,
                    "height": height,
                    "pixelRatio": 1.0,
                    "mobile": self.width < 600,
                }
            },
        }
        wanted = {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": options,
        }
        answer = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{answer['sessionId']}"

    def open(self, page: Path) -> None:
        """Load a file and wait until its images are there."""
        self._ask("POST", f"{self.session}/url", {"url": page.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """What the body of a function returns in the page."""
        return self._ask("POST", f"{self.session}/execute/sync", {"script": script, "args": []})

    def complaints(self) -> list[str]:
        """What the console said that is no mere information."""
        entries = self._ask("POST", f"{self.session}/se/log", {"type": "browser"})
        return [each["message"] for each in entries if each["level"] in ("WARNING", "SEVERE")]

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        self._ask("DELETE", self.session)

    def _ask(self, method: str, path: str, content: Any = None) -> Any:
        request = urllib.request.Request(
            self.address + path,
            data=None if content is None else json.dumps(content).encode(),
            method=method,
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()[:1000]}") from error


@contextmanager
def driver() -> Iterator[str]:
    """Address of a running ``chromedriver``; skips the test where there is none."""
    path = shutil.which("chromedriver")
    if path is None:
        pytest.skip("chromedriver is not on PATH: Debian's chromium-driver has it")
    with subprocess.Popen(
        [path, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield f"http://127.0.0.1:{_port(process)}"
        finally:
            process.terminate()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    until = time.monotonic() + STARTS_WITHIN
    for line in process.stdout:
        if "successfully on port" in line:
            return int(line.split("on port")[1].strip(" .\n"))
        assert time.monotonic() < until
    raise AssertionError("chromedriver ended before it told its port")
