"""One browser for all tests of the viewer."""

import os

import pytest

import browser


@pytest.fixture(scope="session")
def driver():
    """Chromium. Where it cannot be, tests are skipped; in continuous integration they fail."""
    if obstacle := browser.obstacle():
        pytest.fail(obstacle) if os.environ.get("CI") else pytest.skip(obstacle)
    started = browser.start()
    yield started
    started.quit()
