"""The site is built without a warning, says all that is public, and is read without a network."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import urllib.parse
import zlib
from pathlib import Path

import pytest
from documents import ROOT

NEEDED = ("sphinx", "sphinx_book_theme", "myst_nb", "sphinx_copybutton", "ipykernel")
ABSENT = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("site"),
    pytest.mark.skipif(bool(ABSENT), reason="pip install -e '.[docs]' for " + ", ".join(ABSENT)),
]
SHOWN = ("index", "guides/optax", "methods/loren", "evidence", "reference/loren_jax.runs")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built with warnings as errors; the notebooks are run."""
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(built)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return built


def described(site):
    """Every name that the site has a place for: those of Sphinx's own inventory."""
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split()[0] for line in zlib.decompress(packed).decode().splitlines()}


def read(path):
    return path.read_text(encoding="utf-8")


def test_every_public_name_is_described(site):
    public = set(read(ROOT / "tests" / "public_names.txt").split())
    assert public - described(site) == set()


def test_pages_are_small(site):
    large = {p.name: p.stat().st_size for p in site.rglob("*.html") if p.stat().st_size > 1e6}
    assert large == {}


def test_nothing_is_fetched(site):
    loaded = re.compile(r"<(?:script|img|link)[^>]+(?:src|href)=\"((?:https?:)?//[^\"]+)\"")
    assert [
        (p.name, loaded.findall(read(p))) for p in site.rglob("*.html") if loaded.search(read(p))
    ] == []


def test_links_between_pages_hold(site):
    broken = []
    for page in site.rglob("*.html"):
        for link in re.findall(r"<a [^>]*href=\"([^\"]*)\"", read(page)):
            url = urllib.parse.urlsplit(link)
            if url.scheme or not url.path:
                continue
            if not (page.parent / urllib.parse.unquote(url.path)).exists():
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


def test_the_search_knows_the_words_of_the_pages(site):
    index = json.loads(
        read(site / "searchindex.js").removeprefix("Search.setIndex(").removesuffix(")")
    )
    for word in ("journal", "leave", "checkpoint"):
        assert any(word in term for term in index["terms"])


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, the system's or Playwright's own; skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as running:
        own = Path(running.chromium.executable_path)
        there = str(own) if own.is_file() else shutil.which("chromium")
        if not there:
            pytest.skip("there is no Chromium: playwright install chromium")
        yield running.chromium.launch(executable_path=there, args=["--no-sandbox"])


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_is_shown_by_a_browser(site, browser, name):
    page, told = browser.new_page(), []
    page.on("console", lambda message: message.type == "error" and told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: request.url.startswith("http") and told.append(request.url))
    page.goto((site / f"{name}.html").as_uri())
    assert page.locator("article h1").first.is_visible()
    pictures = page.locator("article img")
    for number in range(pictures.count()):
        assert pictures.nth(number).evaluate("image => image.naturalWidth") > 0
    assert len(set(page.screenshot())) > 100  # more than one colour
    assert told == []


def test_the_search_answers_without_a_network(site, browser):
    page = browser.new_page()
    page.goto((site / "search.html").as_uri() + "?q=journal")
    page.wait_for_selector("#search-results li a", timeout=20000)
