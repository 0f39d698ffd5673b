# SPDX-License-Identifier: Apache-2.0
"""Stations as the processes that they are, and the browser in which people see them."""

import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from support.labs import PROGRAM

CHROMIUM = "/usr/bin/chromium"
"""Debian's: no browser is fetched."""
PATIENCE_S = 40
FULL_HD = {"width": 1920, "height": 1080}
GAP_MS = 1000
"""A slow machine's browser hears keys late: a scan's keys may come so far apart in these tests."""


@dataclass(frozen=True, slots=True)
class Station:
    """A running `birthmark line serve`."""

    url: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def end(self) -> None:
        """Ask it to end, and see that it does so in good order and has nothing to complain of."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0
        assert self.process.stderr is not None
        assert "Traceback" not in self.process.stderr.read()


@contextmanager
def serving(config: Path, port: int = 0) -> Iterator[Station]:
    command = [*PROGRAM, "line", "serve", "--config", str(config), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Station(json.loads(process.stdout.readline())["ready"], process)
        finally:
            process.terminate()


def station_config(folder: Path, rig_toml: Path, chips: Sequence[str], *, extra: str = "") -> Path:
    """Write a rig.toml like the lab's, with these chips in its fixture; it lies beside it, for its paths."""
    kept = rig_toml.read_text().partition("\n[[fixture]]")[0]
    fixture = "".join(f'\n[[fixture]]\nchip = "{chip}"\n' for chip in chips)
    path = rig_toml.with_name(f"{folder.name}.toml")
    path.touch(mode=0o600)
    path.write_text(f"{extra}{kept}{fixture}\n[scanner]\ngap_ms = {GAP_MS}\n")
    return path


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Containers have no user namespaces and a small /dev/shm; the page is our own.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        expect.set_options(timeout=1000 * PATIENCE_S)
        try:
            yield browser
        finally:
            browser.close()


class Screen:
    """One tab with the station's page, and what a person at it does and sees."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(1000 * PATIENCE_S)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._said)
        self.page.goto(url)
        expect(self.page.locator("#band .headline")).not_to_be_empty()

    def scan(self, *codes: str, suffix: str = "Enter") -> None:
        """Type as a scanner does, wherever the focus is; wait until the rig has answered."""
        for code in codes:
            with self.page.expect_response("**/v1/scan"):
                self.page.keyboard.type(code)
                self.page.keyboard.press(suffix)

    def shows(self, phase: str) -> None:
        """Wait until the screen is in a phase."""
        expect(self.page.locator("body")).to_have_attribute("data-phase", phase)

    def place(self, number: int, look: str, unit: str = "") -> None:
        """Wait until a place looks like that."""
        tile = self.page.locator(f"#places > li:nth-child({number})")
        expect(tile).to_have_class(look)
        expect(tile.locator(".unit")).to_have_text(unit)

    def _said(self, message: object) -> None:
        text = f"{getattr(message, 'type', '')}: {getattr(message, 'text', '')}"
        # The browser itself notes every refused scan, and a rig that is away.
        if text.startswith("error") and "Failed to load resource" not in text:
            self.errors.append(text)
