"""The word lint finds each banned word, and the project has none."""

from __future__ import annotations

from fnmatch import fnmatch

import pytest

from docs import words


@pytest.mark.parametrize("word", [*words.WORDS, *words.SPAN])
def test_word_is_found_in_prose_and_names(word: str) -> None:
    joined = word.replace(" ", "_")
    camel = "".join(part.capitalize() for part in word.split(" "))
    planted = f"# It is {word}.\n{joined}_by = 1\nclass It{camel}:\n    {word.upper()}\n"
    found = {found.line for found in words.findings(planted, "orgs/planted.py")}
    assert found >= {1, 2, 4}
    assert 3 in found or " " in word or "-" in word or "_" in word


def test_phrase_is_found_over_end_of_line() -> None:
    (found,) = words.findings("# What was left\n# out of it\n", "orgs/planted.py")
    assert (found.line, found.use) == (1, "omitted")


@pytest.mark.parametrize("name", words.CLASS_NAMES)
def test_class_name_is_found(name: str) -> None:
    assert words.findings(f"class {name}(Base):\n", "orgs/planted.py")
    assert not words.findings(f"class {name}View(Base):\n", "orgs/planted.py")


def test_article_in_test_name_is_found() -> None:
    assert words.findings(f"def {'test'}_stream_has_an_end() -> None:\n", "tests/planted.py")
    assert not words.findings("def test_theme_is_an() -> None:\n", "tests/planted.py")


@pytest.mark.parametrize(
    "text", ["<span>", "broad", "roadmap", "indoors", "budget.span", "email", "retold", "Full"]
)
def test_other_words_are_not_found(text: str) -> None:
    assert words.findings(text, "templates/planted.html") == []


@pytest.mark.parametrize("allowed", words.ALLOWED)
def test_every_exception_is_used(allowed: words.Allowed) -> None:
    assert any(
        words.findings(text, name, allowed=()) != words.findings(text, name, allowed=[allowed])
        for name, text in words.files()
        if fnmatch(name, allowed.files)
    )


def test_files_of_every_kind_are_read() -> None:
    names = {name for name, _ in words.files()}
    assert {
        *("README.md", "Makefile", "pyproject.toml", "docs/glossary.md", "benchmarks/load.c"),
        *("gateway/call/pipeline.py", "templates/console/base.html", "static/js/pulse.js"),
        *("tests/clients/node/openai.mjs", ".github/workflows/ci.yml"),
    } <= names


def test_project_has_no_such_word() -> None:
    found = [(name, *found) for name, text in words.files() for found in words.findings(text, name)]
    assert found == []
