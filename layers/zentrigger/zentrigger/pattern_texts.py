"""Texts that match a regular expression, for examples. It knows what people write into schemas, not all there is."""

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

_LIKELY = ("text", "a", "A", "1", "2026-01-31", "example.com", "https://example.com/data.csv", "s3://bucket/data.csv")
"""Tried first: they read better than what is put together."""

_LONGEST = 10_000
_SHORT = {"d": "1", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a", "n": "\n", "t": "\t", "r": "\r"}
_WITHOUT_WIDTH = "bBAzZ"
_MANY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_./:@"


def matching_text(rule: Mapping[str, Any], number: int = 0) -> str | None:
    """Give a text that fits `pattern`, `minLength` and `maxLength` of a rule.

    Args:
        rule: A schema with these keywords.
        number: Which of the texts that are found; beyond the last, it starts over.

    Returns:
        None if none is found.

    """
    asked = {name: rule[name] for name in ("pattern", "minLength", "maxLength") if name in rule}
    fits = jsonschema_rs.Draft202012Validator(asked, offline=True).is_valid
    found: list[str] = []
    for text in _candidates(str(rule.get("pattern", "")), int(rule.get("minLength", 0))):
        if text not in found and fits(text):
            found.append(text)
            if len(found) > number:
                return text
    return found[number % len(found)] if found else None


def _candidates(pattern: str, least: int) -> Iterator[str]:
    yield from _LIKELY
    for more in sorted({1, 0, 2, 3, 7, min(least, _LONGEST)}, key=lambda more: (more != 1, more)):
        for choice in range(12):
            try:
                text = _Sample(pattern, more, choice).whole()
            except (IndexError, ValueError):
                return
            yield text
            if least > len(text):
                yield text.ljust(min(least, _LONGEST), text[-1:] or "x")


class _Sample:
    """One text that a regular expression is likely to match; which one is for `more` and `choice` to say."""

    def __init__(self, pattern: str, more: int, choice: int) -> None:
        self._pattern = pattern
        self._more = more
        self._choice = choice
        self._at = 0

    def whole(self) -> str:
        """Give the text.

        Raises:
            IndexError, ValueError: the expression cannot be read, or its texts are too long.

        """
        text = self._alternatives()
        if self._at < len(self._pattern):
            raise ValueError(self._pattern)
        return text

    def _next(self) -> str:
        self._at += 1
        return self._pattern[self._at - 1]

    def _takes(self, text: str) -> bool:
        if not self._pattern.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _alternatives(self) -> str:
        options = [self._sequence()]
        while self._takes("|"):
            options.append(self._sequence())
        return options[self._choice % len(options)]

    def _sequence(self) -> str:
        text = ""
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            piece = self._atom()
            text += piece * self._times(len(piece))
            if len(text) > _LONGEST:
                raise ValueError(self._pattern)
        return text

    def _times(self, length: int) -> int:
        least, most = self._quantifier()
        times = min(least + self._more, most) if most != least else least
        if times * length > _LONGEST:
            raise ValueError(self._pattern)
        self._takes("?") or self._takes("+")  # lazy or possessive: the same texts match
        return times

    def _quantifier(self) -> tuple[int, int]:
        for sign, least, most in (("*", 0, _LONGEST), ("+", 1, _LONGEST), ("?", 0, 1)):
            if self._takes(sign):
                return least, most
        if not self._takes("{"):
            return 1, 1
        low, comma, high = self._until("}").partition(",")
        return int(low or 0), int(high or (_LONGEST if comma else low))

    def _until(self, end: str) -> str:
        start = self._at
        self._at = self._pattern.index(end, start) + 1
        return self._pattern[start : self._at - 1]

    def _atom(self) -> str:
        sign = self._next()
        if sign == "(":
            return self._group()
        if sign == "[":
            return self._one_of()
        if sign == "\\":
            return self._escape()
        return {"^": "", "$": "", ".": "a"}.get(sign, sign)

    def _group(self) -> str:
        looks_around = any(self._takes(start) for start in ("?=", "?!", "?<=", "?<!"))
        if not looks_around and not self._takes("?:") and (self._takes("?P<") or self._takes("?<")):
            self._until(">")
        text = self._alternatives()
        if self._next() != ")":
            raise ValueError(self._pattern)
        return "" if looks_around else text

    def _one_of(self) -> str:
        excluding = self._takes("^")
        signs = ""
        while not self._takes("]") or not signs:
            first = self._escape() if self._takes("\\") else self._next()
            if self._takes("-"):
                if self._takes("]"):
                    signs += first + "-"
                    break
                last = self._escape() if self._takes("\\") else self._next()
                first = "".join(map(chr, range(ord(first), min(ord(last), ord(first) + 100) + 1)))
            signs += first
        usable = "".join(sign for sign in _MANY if sign not in signs) if excluding else signs
        return usable[self._choice % len(usable) if usable else 0]

    def _escape(self) -> str:
        sign = self._next()
        if sign in _WITHOUT_WIDTH:
            return ""
        if sign in "xu":
            length = {"x": 2, "u": 4}[sign]
            self._at += length
            return chr(int(self._pattern[self._at - length : self._at], 16))
        if sign in "pP":
            self._until("}")
            return "a" if sign == "p" else "-"
        return _SHORT.get(sign, sign)
