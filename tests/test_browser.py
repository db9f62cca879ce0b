"""Proves in a real browser that the pages can be read: light and dark, on a screen and
on a telephone, by keyboard, by a screen reader, on paper, and without a network.

Needs Chromium (Debian's package, or the path in CHROMIUM); skipped where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from chromium import needs_chromium

from book import sync_generated
from book.execute import NOTEBOOKS

pytestmark = [pytest.mark.model, needs_chromium]  # slow: every page is rendered
SCREENS = {
    "screen": {"width": 1280, "height": 900},
    "telephone": {"width": 390, "height": 844},
}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
NAMES = ["index", "cheat_sheet", "glossary", "claims", "troubleshooting"]
NAMES += ["for_teachers", *(path.stem for path in sync_generated.chapters())]
NAMES += [f"solutions/{path.stem}" for path in sync_generated.chapters()]
# By day two looks, and axe, which takes five seconds for a page, at one of them, in
# turns; a night does all four with axe.
BY_DAY = [("light", "screen"), ("dark", "telephone")]


def looks() -> Iterator:
    """Give (page, theme, screen, whether axe looks at it), by day and by night."""
    for number, name in enumerate(NAMES):
        for theme, screen in product(("light", "dark"), SCREENS):
            with_axe = (theme, screen) == BY_DAY[number % 2]
            if (theme, screen) in BY_DAY:
                yield pytest.param(name, theme, screen, with_axe)
            if not with_axe:
                yield pytest.param(name, theme, screen, True, marks=pytest.mark.nightly)


# Of all that can be reached by keyboard: what is drawn, and not inside a closed menu.
REACHABLE = """() => [...document.querySelectorAll(
    'a[href], button, input, select, textarea, summary, [tabindex="0"]')]
  .filter((e) => !e.disabled && e.tabIndex >= 0 && e.checkVisibility(
    {visibilityProperty: true}) && e.getClientRects().length)
  .map((e, i) => { e.dataset.reach = i; return (e.outerHTML.slice(0, 90)); })"""


class Visit:
    """A page of the book in the browser, and what went wrong while it was there."""

    def __init__(self, browser, folder: Path, theme: str, screen: str) -> None:
        self.folder, self.errors, self.away = folder, [], []
        self.context = browser.new_context(color_scheme=theme, viewport=SCREENS[screen])
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._note)
        self.page.route("**/*", self._only_here)

    def _note(self, message) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _only_here(self, route) -> None:
        address = route.request.url
        if address.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            self.away.append(address)
            route.abort()

    def open(self, name: str):
        """Go to a page, wait until it is whole, and return it."""
        self.page.goto((self.folder / f"{name}.html").as_uri())
        self.page.wait_for_load_state("load")
        return self.page


@pytest.fixture(scope="module")
def visit(browser, book_pages):
    """`visit(theme, screen)` gives a Visit, the same one for each pair."""
    visits = {}

    def get(theme: str = "light", screen: str = "screen") -> Visit:
        if (theme, screen) not in visits:
            visits[theme, screen] = Visit(browser, book_pages, theme, screen)
        there = visits[theme, screen]
        there.errors.clear()
        there.away.clear()
        return there

    yield get
    for there in visits.values():
        there.context.close()


@pytest.mark.parametrize(("name", "theme", "screen", "with_axe"), looks())
def test_a_page_can_be_read_by_anybody(visit, name, theme, screen, with_axe):
    """No error, no request away, nothing wider than the screen, and axe content."""
    from axe_playwright_python.sync_playwright import Axe

    there = visit(theme, screen)
    page = there.open(name)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= SCREENS[screen]["width"], f"{wide} pixels wide"
    bare = page.locator("img:not([alt]), img[alt='']").count()
    assert bare == 0, "a picture without alt text"
    assert not there.errors
    assert not there.away
    if not with_axe:
        return
    # Without preload axe asks for no style sheet again, which a file: page may not.
    rules = {"runOnly": {"type": "tag", "values": RULES}, "preload": False}
    found = Axe().run(page, options=rules)
    violations = [
        f"{rule['id']} ({len(rule['nodes'])}): {rule['nodes'][0]['html'][:200]}"
        for rule in found.response["violations"]
    ]
    assert not violations, "\n".join(violations)


def test_the_search_finds_a_word(visit):
    page = visit().open("index")
    page.goto(page.url.replace("index.html", "search.html?q=softmax"))
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").all_inner_texts()
    assert any("Pipelines" in title for title in found), found


@pytest.mark.parametrize("name", NAMES[:2])
def test_the_keyboard_reaches_every_control(visit, name):
    page = visit().open(name)
    wanted = page.evaluate(REACHABLE)
    reached = set()
    for _ in range(len(wanted) + 20):
        page.keyboard.press("Tab")
        number = page.evaluate("document.activeElement?.dataset?.reach")
        if number is not None:
            reached.add(int(number))
    missed = [html for place, html in enumerate(wanted) if place not in reached]
    assert not missed, missed


@pytest.mark.parametrize("path", sync_generated.chapters(), ids=lambda p: p.stem)
def test_paper_keeps_every_cell(visit, path):
    page = visit().open(path.stem)
    page.emulate_media(media="print")
    try:
        cells = page.locator("div.cell").count()
        shown = page.evaluate(
            "[...document.querySelectorAll('div.cell')]"
            ".filter((e) => e.offsetHeight > 5).length"
        )
        frames = page.locator("div.frames:visible").count()
        assert cells == shown > 10
        assert frames == 0, "menus that do nothing on paper"
        assert len(page.pdf()) > 50_000
    finally:
        page.emulate_media(media="screen")


FRAMED = """<!doctype html><html lang="en"><title>t</title><div class="cell_output">
<img id="first" alt="first" src="data:,"><div class="frames" hidden>
<label>heat <select><option>1</option><option>2</option></select></label>
<div class="frame" data-values='["2"]' hidden><img alt="second" src="data:,"></div>
</div></div>"""


def test_a_menu_exchanges_the_picture_by_keyboard(browser, tmp_path):
    static = NOTEBOOKS / "book" / "_static"
    script = (static / "frames.js").read_text("utf-8")
    (tmp_path / "off.html").write_text(FRAMED, "utf-8")
    (tmp_path / "on.html").write_text(f"{FRAMED}<script>{script}</script>", "utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "off.html").as_uri())
    assert page.get_by_alt_text("first").is_visible()
    assert not page.locator("select").is_visible(), "without a script, no menu"
    page.goto((tmp_path / "on.html").as_uri())
    assert page.get_by_alt_text("first").count() == 1
    page.keyboard.press("Tab")
    place = page.locator("select").bounding_box()
    page.keyboard.press("ArrowDown")
    assert page.locator("select").bounding_box() == place, "the menu moved"
    assert page.locator("#first").is_hidden()
    assert not page.locator("div.frame").is_hidden()
    page.keyboard.press("ArrowUp")
    assert not page.locator("#first").is_hidden()
    assert page.locator("div.frame").is_hidden()
    page.close()


def test_the_cheat_sheet_fits_on_two_sheets_of_paper(visit):
    page = visit().open("cheat_sheet")
    sheets = page.pdf(format="A4").count(b"/Type /Page\n")
    assert 1 <= sheets <= 2
