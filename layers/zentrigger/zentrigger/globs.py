"""Globs over S3 keys: `*` within a folder, `**` across folders, `?` one character. Nothing else is special.

Matching takes time in proportion to the lengths of glob and key together, whatever they are: no expression that
backtracks is made of what an operator wrote.
"""

from collections.abc import Iterator

MAX_GLOB = 256

_ANY, _WITHIN, _ONE, _FOLDERS = object(), object(), object(), object()
"""`**`, `*`, `?`, and `**/`, which is any number of whole folders, none among it."""


def matches(glob: str, key: str) -> bool:
    """Tell whether a key is one that a glob stands for."""
    tokens = tuple(_tokens(glob))
    # The places in the glob that the key, as far as it was read, can have led to.
    places = _skipped(tokens, {0}, at_start=True)
    for character in key:
        places = _skipped(tokens, _read(tokens, places, character), at_start=character == "/")
        if not places:
            return False
    return len(tokens) in places


def _tokens(glob: str) -> Iterator[object]:
    position = 0
    while position < len(glob):
        rest = glob[position:]
        if rest.startswith("**/") and (position == 0 or glob[position - 1] == "/"):
            yield _FOLDERS
            position += 3
        elif rest.startswith("**"):
            yield _ANY
            position += 2
        else:
            yield {"*": _WITHIN, "?": _ONE}.get(rest[0], rest[0])
            position += 1


def _read(tokens: tuple[object, ...], places: set[int], character: str) -> set[int]:
    after = set()
    for place in places:
        token = tokens[place] if place < len(tokens) else None
        if token in (_ANY, _FOLDERS) or (token is _WITHIN and character != "/"):
            after.add(place)
        elif token == character or (token is _ONE and character != "/"):
            after.add(place + 1)
    return after


def _skipped(tokens: tuple[object, ...], places: set[int], *, at_start: bool) -> set[int]:
    """Add the places beyond tokens that may stand for nothing; folders may end only where one begins."""
    found, new = set(places), list(places)
    while new:
        place = new.pop()
        token = tokens[place] if place < len(tokens) else None
        if (token in (_ANY, _WITHIN) or (token is _FOLDERS and at_start)) and place + 1 not in found:
            found.add(place + 1)
            new.append(place + 1)
    return found
