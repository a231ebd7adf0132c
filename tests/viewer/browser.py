"""Chromium without a window, which reads pages from the file system as a user's browser does."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

INSTALL = Path(__file__).with_name("install.sh")
PATIENCE = 60  # seconds, on a machine that does other things


def obstacle() -> str | None:
    """Why there is no browser here; None where there is one, or it could be installed."""
    installed = subprocess.run([INSTALL], capture_output=True, text=True, check=False)
    return installed.stderr.strip() or "tests/viewer/install.sh failed" if installed.returncode else None


def start() -> webdriver.Chrome:
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1400,900", "lang=en"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


class Page:
    """A viewer in the browser."""

    def __init__(self, driver: webdriver.Chrome, file: Path) -> None:
        self.driver, self.file = driver, file

    def open(self, address: str = "") -> "Page":
        """Load the page at `address` (#problem=...) and wait until it shows a response or, with view=search, all."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.file.as_uri()}{address}")
        self.wait(lambda: self.all("main .text [data-at]") or self.all("main .branch") or self.all("main .search"))
        return self

    def wait(self, holds: Callable[[], object]) -> object:
        return WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05).until(lambda _: holds())

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.script("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def script(self, code: str, *arguments: object) -> object:
        return self.driver.execute_script(code, *arguments)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.one("body").send_keys(key)

    def hover(self, selector: str) -> None:
        ActionChains(self.driver).move_to_element(self.one(selector)).perform()

    def choose(self, name: str, value: str) -> None:
        """Set the field or menu called `name`, as a user who types or picks."""
        self.script(
            """const field = document.querySelector(`[aria-label="${arguments[0]}"]`);
            const set = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set;
            set.call(field, arguments[1]);
            field.dispatchEvent(new Event("input", {bubbles: true}));
            field.dispatchEvent(new Event("change", {bubbles: true}));""",
            name,
            value,
        )

    def chosen(self) -> int | None:
        """Position of the chosen token."""
        marked = self.all(".token.chosen")
        return int(marked[0].get_attribute("data-at")) if marked else None

    def address(self) -> str:
        return self.script("return decodeURIComponent(location.hash)")

    def complaints(self) -> list[str]:
        """What the console said: errors, refusals of the content security policy."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def brightness(self) -> float:
        """Of the page's ground, from 0 (black) to 1."""
        colour = self.script("return getComputedStyle(document.body).backgroundColor")
        return float(np.mean([float(part) for part in colour[4:-1].split(",")]) / 255)


def memory_mb(driver: webdriver.Chrome) -> float:
    """Memory, in MB, that the processes holding the pages of this browser share with no file."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            renders = b"--type=renderer" in (process / "cmdline").read_bytes()
            if renders and _descends(process, driver.service.process.pid):
                sizes = dict(line.split(":") for line in (process / "status").read_text().splitlines())
                total += sum(int(sizes[kind].split()[0]) for kind in ("RssAnon", "RssShmem"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / 1024


def _descends(process: Path, ancestor: int) -> bool:
    """Whether a process has `ancestor` among those that started it."""
    number = int(process.name)
    while number not in (0, ancestor):
        number = int(Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return number == ancestor
