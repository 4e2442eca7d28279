"""A virtual display with a keyboard: Xvfb, xdotool, and pictures of what is on it."""

import mmap
import os
import pathlib
import struct
import subprocess
import time
import zlib


class Display:
    """An Xvfb of a size. Pictures come from the file it keeps its screen in, so that nothing else is needed."""

    def __init__(self, folder: pathlib.Path, width: int, height: int):
        folder.mkdir(parents=True, exist_ok=True)
        read, write = os.pipe()
        screen = f"{width}x{height}x24"
        # Without key repeat: on a busy machine a key is held for longer than one means to.
        command = ["Xvfb", "-r", "-displayfd", str(write), "-screen", "0", screen, "-fbdir", str(folder)]
        self.server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as number:
            self.name = f":{number.readline().strip()}"
        self.screen = folder / "Xvfb_screen0"
        self.size = (width, height)

    def close(self):
        """Ends the server."""
        self.server.terminate()
        self.server.wait()

    def _do(self, *words: str) -> str:
        """Runs xdotool."""
        env = {**os.environ, "DISPLAY": self.name}
        done = subprocess.run(["xdotool", *words], env=env, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"xdotool {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def window(self, title: str, limit_s: float = 60) -> str:
        """Waits for a window, moves it to the corner and gives it the keyboard, as a window manager would."""
        end = time.monotonic() + limit_s
        while True:
            try:
                window = self._do("search", "--onlyvisible", "--name", title).splitlines()[0]
                break
            except (RuntimeError, IndexError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        self._do("windowmove", window, "0", "0")
        self._do("windowfocus", window)
        return window

    def resize(self, window: str, width: int, height: int):
        """Gives a window a size; pictures show as much."""
        self._do("windowsize", "--sync", window, str(width), str(height))
        self.size = (width, height)

    def keys(self, *combinations: str):
        """Presses combinations such as `ctrl+n`."""
        for combination in combinations:
            self._do("key", "--clearmodifiers", combination)
            time.sleep(0.15)

    def type(self, text: str):
        """Types a text."""
        self._do("type", "--delay", "15", "--", text)
        time.sleep(0.2)

    def click(self, x: int, y: int):
        """Clicks at a place."""
        self._do("mousemove", str(x), str(y), "click", "1")
        time.sleep(0.2)

    def park(self):
        """Moves the pointer out of the way."""
        self._do("mousemove", str(self.size[0] - 1), str(self.size[1] - 1))

    def _pixels(self) -> list[bytes]:
        """Rows of red, green and blue."""
        with open(self.screen, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
            head = struct.unpack(">25I", image[:100])
            header, stride, colours = head[0], head[12], head[19]
            start = header + 12 * colours
            width, height = self.size
            rows = []
            for y in range(height):
                row = image[start + y * stride : start + y * stride + 4 * width]
                pixels = bytearray(3 * width)
                pixels[0::3], pixels[1::3], pixels[2::3] = row[2::4], row[1::4], row[0::4]
                rows.append(bytes(pixels))
            return rows

    def settle(self, limit_s: float = 20):
        """Waits until the picture no longer changes."""
        end, before, same = time.monotonic() + limit_s, None, 0
        while same < 5 and time.monotonic() < end:
            now = zlib.crc32(b"".join(self._pixels()))
            same, before = (same + 1 if now == before else 0), now
            time.sleep(0.2)

    def save(self, path: pathlib.Path):
        """Writes what is on the display as a PNG."""
        rows = self._pixels()
        width, height = self.size

        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
        head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
