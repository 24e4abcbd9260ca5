"""A headless Chromium, spoken to in its DevTools protocol over two pipes."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None
)
_KEYS = {
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Enter": 13,
    "Escape": 27,
}
_SHIFT = 8


class Browser:
    """One tab. `said` are messages of its console and its errors, `asked` the addresses that it asked for."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._rest, self._number, self._session = b"", 0, ""
        self.said: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """Result of a command of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path: Path, state: str = "", width: int = 0) -> None:
        """Show a page from the disk, in a window of this width, and wait until the explorer or figure is drawn."""
        if width:
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=f"{path.resolve().as_uri()}{state}")
        self.run(
            "new Promise(done => {"
            "  const look = () => (window.explorer?.ready ?? window.drawn)?.then(done)"
            "    ?? setTimeout(look, 20); look()"
            "})"
        )

    def run(self, script: str) -> Any:
        """Value of an expression in the page; a promise is waited for."""
        done = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def idle(self) -> None:
        """Wait until what was asked for is drawn."""
        self.run("new Promise(done => setTimeout(done, 50)).then(() => explorer.idle())")

    def click(self, x: float, y: float, *, shift: bool = False, to: Sequence[float] = ()) -> None:
        """Press and release the mouse, dragged in between if `to` is given."""
        at = {"x": x, "y": y, "modifiers": _SHIFT * shift}
        press = {"button": "left", "buttons": 1, "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **at)
        self.call("Input.dispatchMouseEvent", type="mousePressed", **at, **press)
        for share in (0.3, 0.6, 1.0) if to else ():
            at |= {"x": x + share * (to[0] - x), "y": y + share * (to[1] - y)}
            self.call("Input.dispatchMouseEvent", type="mouseMoved", **at, **press)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **at, **press)
        self.idle()

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key."""
        code = _KEYS.get(key, ord(key[0].upper()))
        about: dict[str, Any] = {
            "key": key,
            "windowsVirtualKeyCode": code,
            "modifiers": _SHIFT * shift,
        }
        if len(key) == 1:
            about["text"] = key
        self.call("Input.dispatchKeyEvent", type="keyDown", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)
        self.idle()

    def picture(self, path: Path, width: int, height: int, *, dark: bool = False) -> None:
        """A picture of the page in a window of this size."""
        value = "dark" if dark else "light"
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": value}],
        )
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.run("new Promise(done => setTimeout(done, 500)).then(() => window.explorer?.idle())")
        path.write_bytes(
            base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        )

    def _next(self) -> Any:
        while b"\0" not in self._rest:
            part = os.read(self._receive, 1 << 20)
            assert part, "Chromium has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        found = json.loads(message)
        match found.get("method"), found.get("params", {}):
            case "Runtime.consoleAPICalled", about:
                self.said += [
                    str(arg.get("value", arg.get("description"))) for arg in about["args"]
                ]
            case "Runtime.exceptionThrown", about:
                details = about["exceptionDetails"]
                self.said.append(
                    str(details.get("exception", {}).get("description", details["text"]))
                )
            case "Log.entryAdded", about:
                self.said.append(about["entry"]["text"])
            case "Network.requestWillBeSent", about:
                self.asked.append(about["request"]["url"])
        return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a network that ends with the block."""
    assert CHROMIUM is not None
    ours, theirs = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # Chromium reads commands from descriptor 3 and writes answers to 4.
        options = (
            "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --remote-debugging-pipe"
        )
        words = [
            CHROMIUM,
            *options.split(),
            "--window-size=1400,1000",
            f"--user-data-dir={profile}",
        ]
        line = f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        started = subprocess.Popen(
            ["bash", "-c", line, "bash", *words],
            pass_fds=(ours[0], theirs[1]),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        try:
            yield Browser(ours[1], theirs[0])
        finally:
            os.close(ours[1])
            os.close(theirs[0])
            started.terminate()
            started.wait(20)
