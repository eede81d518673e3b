"""List what the product can print or show: `python -m docs.sentences` writes docs/sentences.txt.

Every text of the code that is not a docstring, a query or a pattern, every text of the templates
and scripts, file by file, so that all of them can be read in one go and compared with one style.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from django.template.base import Lexer, TokenType

ROOT: Final = Path(__file__).resolve().parent.parent
LIST: Final = ROOT / "docs" / "sentences.txt"
APPS: Final = ("orgs", "costs", "gateway", "pulse")
HEAD: Final = (
    "What the product can print or show, by file. Written by `python -m docs.sentences`;\n"
    "a value stands as {…}.\n"
)
# Texts that are shown even if they are a single word.
SHOWN: Final = {"label", "help_text", "help", "description", "title", "empty_label", "verbose_name"}
# Queries, markup, types of content and other texts for programs.
PROGRAM: Final = re.compile(
    r"\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|WITH|FROM|WHERE|AND|OR|ON|SET|JOIN|LEFT|"
    r"VALUES|GROUP|ORDER|UNION|RETURNING|BEGIN|COMMIT|PRAGMA|NOT|CASE|COALESCE|EXISTS|IN|LIMIT|FOR|"
    r"TRUNCATE|LOCK|EXPLAIN|NULL|AS|VACUUM|WHEN|CAST|FILTER)\b|\s*[(,<]|Bearer |use strict|"
    r"attachment;|text/|event: |max-age|#"
    r"|.*(?:\bFROM \w+ |ANY\(| AS |<svg|<span|\bORDER BY|\bIS NULL|\bNULLS LAST|\bDESC$|OLD\.|"
    r"coalesce\(|to_char\(|\bLIMIT \{)"
)
WORDS: Final = re.compile(r"[A-Za-z]{2,}[,.:;]? [A-Za-z{(\"]")
INLINE: Final = {"a", "abbr", "b", "code", "em", "i", "kbd", "small", "span", "strong", "time"}
ATTRIBUTES: Final = ("alt", "aria-label", "data-label", "placeholder", "title")
# All strings and comments, so that the ends of one are not taken for the beginning of another.
SCRIPT: Final = re.compile(r'//[^\n]*|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')


def of_code(source: str) -> Iterator[str]:
    """Yield the texts of a module, in order."""
    tree = ast.parse(source)
    hidden: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            hidden.add(node.value)  # a docstring
        elif isinstance(node, ast.JoinedStr):
            hidden.update(ast.walk(node))
            hidden.discard(node)
            hidden -= {each for value in _values_of(node) for each in ast.walk(value)}
    shown = {
        keyword.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg in SHOWN
    }
    texts = [
        (node.lineno, node.col_offset, text, node in shown)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr) and node not in hidden
        if (text := _text_of(node))
    ]
    for _, _, found, is_shown in sorted(texts):
        if is_shown or (WORDS.search(found) and not PROGRAM.match(found)):
            yield found


def _values_of(node: ast.JoinedStr) -> Iterator[ast.expr]:
    return (part.value for part in node.values if isinstance(part, ast.FormattedValue))


def _text_of(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.JoinedStr):
        parts = (str(p.value) if isinstance(p, ast.Constant) else "{…}" for p in node.values)
        return "".join(parts)
    return node.value if isinstance(node.value, str) else ""


class _Texts(HTMLParser):
    """Collects the texts of a page; inline elements do not end one."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._open = [""]
        self._is_hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ATTRIBUTES and value]
        self._is_hidden = tag in ("script", "style")
        self._end(tag)

    def handle_endtag(self, tag: str) -> None:
        self._is_hidden = False
        self._end(tag)

    def handle_data(self, data: str) -> None:
        if not self._is_hidden:
            first, *others = data.split("\x1f")
            self._open[-1] += first
            self._open += others

    def _end(self, tag: str) -> None:
        if tag not in INLINE:
            self._open.append("")

    def close(self) -> None:
        super().close()
        self.found += self._open


def of_template(text: str) -> Iterator[str]:
    """Yield the texts of a template; what a tag decides on is a text of its own."""
    parser = _Texts()
    text = re.sub(r"{% comment .*?{% endcomment %}", "", text, flags=re.DOTALL)
    kinds = {TokenType.VAR: "{…}", TokenType.BLOCK: "\x1f", TokenType.COMMENT: ""}
    html = "".join(kinds.get(token.token_type, token.contents) for token in Lexer(text).tokenize())
    parser.feed(html)
    parser.close()
    for found in parser.found:
        for part in found.split("\x1f"):
            if re.search(r"[A-Za-z]{2}", part.replace("{…}", "")):
                yield part


def of_script(text: str) -> Iterator[str]:
    """Yield the texts of a script."""
    for match in SCRIPT.finditer(text):
        found = re.sub(r"\$\{[^}]*\}", "{…}", match[1] or match[2] or "")
        if WORDS.search(found) and not PROGRAM.match(found):
            yield found


def by_file() -> Iterator[tuple[str, list[str]]]:
    """Yield the path from the root of each file that has texts, with them, each once."""
    code = [path for app in APPS for path in sorted((ROOT / app).rglob("*.py"))]
    pages = sorted(path for path in (ROOT / "templates").rglob("*") if path.is_file())
    scripts = sorted((ROOT / "static" / "js").glob("*.js"))
    for paths, texts_of in ((code, of_code), (pages, of_template), (scripts, of_script)):
        for path in paths:
            if "migrations" not in path.parts:
                found = (" ".join(text.split()) for text in texts_of(path.read_text()))
                if texts := list(dict.fromkeys(found)):
                    yield str(path.relative_to(ROOT)), texts


def listing() -> str:
    """Return the list as it belongs into docs/sentences.txt."""
    files = (f"\n{name}\n" + "".join(f"  {text}\n" for text in texts) for name, texts in by_file())
    return HEAD + "".join(files)


if __name__ == "__main__":
    LIST.write_text(listing())
