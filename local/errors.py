"""What can be wrong with a template, as one error that names the resource."""

from __future__ import annotations


class TemplateError(Exception):
    """The template cannot be deployed; the message names the resource and says what is wrong with it."""


def invalid(logical_id: str, problem: str) -> TemplateError:
    """Return the error for one resource."""
    return TemplateError(f"{logical_id}: {problem}")
