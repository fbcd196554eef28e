"""A person who has no mouse: moves by Tab and acts by keys."""

from __future__ import annotations

from playwright.sync_api import Page

FOCUSED = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return "";
  const labels = element.labels ? [...element.labels].map(label => label.innerText) : [];
  const words = [element.getAttribute("aria-label"), ...labels, element.innerText, element.textContent];
  return words.find(text => text && text.trim())?.trim().replace(/\\s+/g, " ") ?? element.outerHTML.slice(0, 80);
}"""
"""The name of what has the focus."""

ROUNDS = 8
"""How often the same thing is passed before the search ends."""


class Keyboard:
    """The keys of a page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def reach(self, name: str, *, back: bool = False) -> None:
        """Press Tab until the focus is on what has this name; fail with what was passed if it never is."""
        self.page.wait_for_load_state()  # before its scripts ran, a link leads to a page where it would open a dialog
        passed: list[str] = []
        while passed.count(passed[-1] if passed else "") <= ROUNDS:
            self.page.keyboard.press("Shift+Tab" if back else "Tab")
            passed.append(str(self.page.evaluate(FOCUSED)))
            if passed[-1] == name:
                return
        raise AssertionError(f"{name!r} is not reached by Tab, only {list(dict.fromkeys(passed))}")

    def press(self, name: str, key: str = "Enter", *, back: bool = False) -> None:
        """Reach something and press a key on it."""
        self.reach(name, back=back)
        self.page.keyboard.press(key)

    def fill(self, name: str, text: str) -> None:
        """Reach a field and write in it, in place of what it holds."""
        self.reach(name)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)
