"""What the audience sees: plain text, with colours where there is a terminal and NO_COLOR is not set."""

import os
import sys
import textwrap

COLOURS = {"green": 32, "red": 31, "yellow": 33, "blue": 36, "soft": 2, "bold": 1}
WIDTH = 92


class Screen:
    """Prints scenes, lines and notifications."""

    def __init__(self, stream=None):
        self._stream = stream or sys.stdout
        if hasattr(self._stream, "reconfigure"):
            self._stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows question marks, and goes on
        self._has_colours = self._stream.isatty() and not os.environ.get("NO_COLOR")
        self._scenes = 0

    def title(self, text):
        self._print()
        self._print(self._paint(f"  {text}", "bold", "green"))

    def scene(self, text):
        self._scenes += 1
        self._print()
        self._print(self._paint(f" {self._scenes}. {text}", "bold"))

    def say(self, text):
        self._print(f"    {text}")

    def aside(self, text):
        self._print(
            self._paint(textwrap.fill(text, WIDTH, initial_indent="      ", subsequent_indent="      "), "soft")
        )

    def done(self, text):
        self._print(f"    {self._paint('✔', 'green')} {text}")

    def trouble(self, text):
        self._print(f"    {self._paint('⚡', 'yellow')} {text}")

    def failure(self, text):
        self._print()
        self._print(f"  {self._paint('✘', 'red', 'bold')} {text}")

    def notification(self, browser, shown):
        """A notification as the browser decrypted it."""
        bar = self._paint("┃", "blue")
        self._print(f"    {bar} {self._paint(browser, 'soft')}")
        self._print(f"    {bar} {self._paint(shown.title, 'bold')}")
        for line in textwrap.wrap(shown.body, WIDTH - 6):
            self._print(f"    {bar} {line}")
        if shown.actions:
            self._print(f"    {bar} " + "  ".join(f"[ {button['title']} ]" for button in shown.actions))

    def table(self, rows):
        """Label and number, side by side."""
        for label, number in rows:
            self._print(f"    {label:<34}{self._paint(f'{number:>8}', 'bold')}")

    def _paint(self, text, *names):
        if not self._has_colours:
            return text
        codes = ";".join(str(COLOURS[name]) for name in names)
        return f"\x1b[{codes}m{text}\x1b[0m"

    def _print(self, text=""):
        print(text, file=self._stream, flush=True)
