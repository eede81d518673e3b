"""Count the rooms of the code and the imports between them: `python -m docs.rooms [--draw]`.

A room is a folder of an app with all that is in it. What stays beside the rooms because Django
finds it by its place (models, admin, URLs, commands) counts as the app itself. Imports for type
checking alone do not count.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grimp

APPS = ("orgs", "costs", "gateway", "pulse")
FOUND_BY_PLACE = {"management", "migrations", "templatetags", "models"}
ROOT = Path(__file__).resolve().parent.parent


def room_of(module: str, packages: set[str]) -> str:
    """Return the room that a module is in: `gateway.budgets`, or its app."""
    app, *inner = module.split(".")
    is_room = bool(inner) and inner[0] not in FOUND_BY_PLACE and f"{app}.{inner[0]}" in packages
    return f"{app}.{inner[0]}" if is_room else app


def arrows() -> Counter[tuple[str, str]]:
    """Return how many imports lead from one room to another."""
    graph = grimp.build_graph(*APPS, exclude_type_checking_imports=True, cache_dir=None)
    packages = {module for module in graph.modules if graph.find_children(module)}
    found: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = room_of(module, packages), room_of(imported, packages)
            if pair[0] != pair[1]:
                found[pair] += 1
    return found


def circles(pairs: set[tuple[str, str]]) -> list[str]:
    """Return the rooms that are part of a circle; an app's own modules are no room."""
    rooms = {room for pair in pairs for room in pair if "." in room}
    while leaves := {r for r in rooms if not any(a == r and b in rooms for a, b in pairs)}:
        rooms -= leaves
    return sorted(rooms)


def drawn(pairs: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the arrows that no longer way replaces: what a drawing without a circle needs."""

    def reached(room: str, without: tuple[str, str]) -> set[str]:
        found: set[str] = set()
        waiting = [b for a, b in pairs if a == room and (a, b) != without]
        while waiting:
            if (next_room := waiting.pop()) not in found:
                found.add(next_room)
                waiting += [b for a, b in pairs if a == next_room]
        return found

    return sorted(pair for pair in pairs if pair[1] not in reached(pair[0], pair))


def folders() -> Iterator[tuple[int, str]]:
    """Yield how many modules each folder has, without its own first file."""
    for app in APPS:
        for folder in (ROOT / app, *(path for path in (ROOT / app).rglob("*") if path.is_dir())):
            count = sum(path.name != "__init__.py" for path in folder.glob("*.py"))
            if count and folder.name != "migrations":
                yield count, str(folder.relative_to(ROOT))


def main() -> None:
    """Print the figures, and with --draw the drawing as Mermaid's text."""
    found = arrows()
    rooms = {room for pair in found for room in pair if "." in room}
    between = {pair for pair in found if "." in pair[0] and "." in pair[1]}
    if "--draw" in sys.argv:
        sys.stdout.write("graph TD\n")
        sys.stdout.writelines(f"  {a} --> {b}\n" for a, b in drawn(between))
        return
    count, folder = max(folders())
    sys.stdout.write(
        f"rooms {len(rooms)}, arrows between them {len(between)}, "
        f"in circles: {', '.join(circles(between)) or 'none'}\n"
        f"largest folder: {folder} with {count} modules\n"
    )


if __name__ == "__main__":
    main()
