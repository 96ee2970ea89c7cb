"""A page in headless Chromium without a network, controlled by the debugging protocol."""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import websocket

__all__ = ["CHROMIUM", "Page"]

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
_OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

# seconds to wait for the browser's answer
_SECONDS = 300


class Page:
    """A file, or an address on this machine, opened in Chromium.

    Its requests, messages and errors are kept in ``events``. A file is opened offline.
    """

    def __init__(self, page: Path | str, *, width: int = 940, height: int = 1000):
        self.events, self._calls = [], 0
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [CHROMIUM, *_OPTIONS]
        command += [f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([*command, "about:blank"], **quiet)
        self._socket = websocket.create_connection(self._find_target(), timeout=_SECONDS)
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        if isinstance(page, Path):
            off = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
            self.call("Network.emulateNetworkConditions", **off)
            page = page.resolve().as_uri()
        self.call("Page.navigate", url=page)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._socket.close()
        self._process.terminate()
        self._process.wait()
        self._profile.cleanup()

    def call(self, method: str, **parameters) -> dict:
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters}
        end = time.monotonic() + _SECONDS
        self._socket.send(json.dumps(message))
        # stop even if the page keeps sending events
        while (answer := json.loads(self._socket.recv())).get("id") != self._calls:
            assert time.monotonic() < end, f"no answer within {_SECONDS} s: {method} {parameters}"
            self.events.append(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def run(self, script: str):
        """Return the value of an expression of JavaScript."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, script: str, *, seconds: float = 120):
        """Return the value of an expression as soon as it is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"not within {seconds} s: {script}"
            time.sleep(0.05)
        return value

    def show(self, *, width: int, scheme: str) -> None:
        """Set the width of a page in pixels, and its light or dark scheme."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def mouse(self, kind: str, x: float, y: float, **more) -> None:
        self.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **more)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the left button from one position to another, in steps."""
        held = {"button": "left", "buttons": 1, "clickCount": 1}
        self.mouse("Moved", *start)
        self.mouse("Pressed", *start, **held)
        for share in (0.1, 0.4, 0.7, 1.0):
            position = (a + share * (b - a) for a, b in zip(start, end, strict=True))
            self.mouse("Moved", *position, **held)
        self.mouse("Released", *end, button="left", clickCount=1)

    def click(self, x: float, y: float) -> None:
        """Click without delay, since Bokeh ignores clicks longer than a quarter of a second."""
        self.mouse("Moved", x, y)
        self.mouse("Pressed", x, y, button="left", buttons=1, clickCount=1)
        self.mouse("Released", x, y, button="left", clickCount=1)

    def _find_target(self) -> str:
        port_file = Path(self._profile.name, "DevToolsActivePort")
        end = time.monotonic() + 120
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert self._process.poll() is None and time.monotonic() < end, "Chromium did not start"
            time.sleep(0.05)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as targets:
            return next(t for t in json.load(targets) if t["type"] == "page")[
                "webSocketDebuggerUrl"
            ]
