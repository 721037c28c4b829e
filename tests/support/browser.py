"""A real browser for the tests of the console: headless, and deaf to all but this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

NEEDED = "WORKSHOP_NEEDS_BROWSER"  # set by CI: a missing browser is then a failure
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "no Chromium or Chrome with its chromedriver on the PATH "
    "(Debian: apt-get install chromium chromium-driver)"
)
SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # it shows our own pages alone, and containers often have no sandbox to give
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--force-prefers-reduced-motion",
)


def find() -> tuple[str, str] | None:
    """Return the programs of a browser and of its driver, or None."""
    # Machines of GitHub name the folder of the driver in a variable.
    folders = os.pathsep.join([os.environ.get("PATH", ""), os.environ.get("CHROMEWEBDRIVER", "")])
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver", path=folders)
    return (browser, driver) if browser and driver else None


@contextmanager
def start(profile: Path) -> Iterator[Any]:
    """Open a browser with a profile of its own.

    Skips the test that asks where there is no browser; fails it where `NEEDED` is set.
    """
    programs = find()
    if programs is None and os.environ.get(NEEDED):
        pytest.fail(MISSING)
    if programs is None:
        pytest.skip(MISSING)
    options = Options()
    options.binary_location, driver = programs
    for switch in (*SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    here = dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1")
    with mock.patch.dict(os.environ, here):  # Selenium would ask a proxy for its driver
        browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()
