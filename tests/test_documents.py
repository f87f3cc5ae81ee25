"""What README and docs show runs as it is pasted, and their links hold."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import quickstart
from documents import ROOT, blocks, links, pages
from tiny_text import CHATML, write_decoder

LANGUAGES = {"python", "sh", "text", "{eval-rst}"}
ELSEWHERE = {"pip install -e": "installs the package, as the environment of the tests did"}
"""Shell blocks that are not run here, by their first words, and why."""
COMMANDS = [page for page in pages() if any(b.language == "sh" for b in blocks(page))]
PYTHON = [
    p for p in pages() if p not in COMMANDS and any(b.language == "python" for b in blocks(p))
]


def on_the_hub(home, name, directory):
    """A cache of the Hub's that has a model under its name."""
    there = home / "hub" / f"models--{name.replace('/', '--')}"
    (there / "refs").mkdir(parents=True)
    (there / "refs" / "main").write_text("0" * 40)
    shutil.copytree(directory, there / "snapshots" / ("0" * 40))


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """MiniLM as it is, and in place of SmolLM2 a model that takes no time."""
    home = tmp_path_factory.mktemp("hub")
    on_the_hub(home, "sentence-transformers/all-MiniLM-L6-v2", quickstart.minilm())
    tiny = write_decoder(home / "tiny", template=CHATML)
    on_the_hub(home, "HuggingFaceTB/SmolLM2-135M-Instruct", tiny)
    return home


@pytest.mark.parametrize("page", PYTHON)
def test_every_block_in_python_runs_as_pasted(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        if block.language == "python":
            exec(compile(block.text, page, "exec"), {})


@pytest.mark.slow
@pytest.mark.parametrize("page", COMMANDS)
def test_every_command_runs_as_pasted(page, tmp_path, hub):
    """In order and in one folder, each block in a process of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "HF_HOME": str(hub), "HF_HUB_OFFLINE": "1"}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    env.pop("HF_HUB_CACHE", None)
    if page == "README.md":  # where messages.csv is the reader's own
        first = blocks("docs/guides/classify.md")[0].text
        subprocess.run([sys.executable, "-c", first], check=True, cwd=tmp_path, env=env)
    for block in blocks(page):
        program = {"python": [sys.executable, "-c"], "sh": ["sh", "-ec"]}.get(block.language)
        if program and not block.text.startswith(tuple(ELSEWHERE)):
            subprocess.run([*program, block.text], check=True, cwd=tmp_path, env=env)


@pytest.mark.parametrize("page", pages())
def test_a_block_says_whether_it_is_run(page):
    """`text` is not: other machines, or files that only a reader has."""
    unknown = {block.language for block in blocks(page)} - LANGUAGES
    assert {name for name in unknown if not name.startswith(("{include}", "{toctree}"))} == set()


@pytest.mark.parametrize("page", pages())
def test_links_hold(page):
    folder = pages()[page].parent
    assert [link for link in links(page) if not (folder / link).exists()] == []


def test_readme_is_a_door():
    assert len(pages()["README.md"].read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("command", ["sh examples/quickstart.sh", "sh tests/run.sh"])
def test_readme_has_the_two_commands_of_a_bare_python(command):
    assert command in pages()["README.md"].read_text(encoding="utf-8")
    assert (ROOT / command.split()[1]).is_file()
