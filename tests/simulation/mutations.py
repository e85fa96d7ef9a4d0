"""Product code broken on purpose: a piece of a module's source is exchanged, and what is loaded runs the new code.

Whoever has imported a function goes on with the same function, whose code is another meanwhile. A piece that is not
there, or there twice, is an error: so a guard cannot go without somebody noticing.
"""

import ast
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any

_FUNCTION = inspect.CO_OPTIMIZED
"""What the code of a function has, and that of a class or module has not."""


@contextmanager
def mutated(module: ModuleType, piece: str, other: str) -> Iterator[None]:
    """Exchange a piece of a module's functions, methods or constants for another, meanwhile."""
    source = inspect.getsource(module)
    if source.count(piece) != 1:
        raise ValueError(f"{module.__name__} has this {source.count(piece)} times, and should have it once: {piece!r}")
    changed = source.replace(piece, other)
    standing = {code.co_qualname: code for code in _functions(compile(source, str(module.__file__), "exec"))}
    functions: dict[FunctionType, CodeType] = {}
    for code in _functions(compile(changed, str(module.__file__), "exec")):
        if _shape(code) != _shape(standing[code.co_qualname]):
            function = _find(module, code.co_qualname)
            functions[function] = function.__code__
            function.__code__ = code
    constants = _constants(module, source, changed)
    before = {name: vars(module)[name] for name in constants}
    if not functions and not constants:
        raise ValueError(f"{other!r} changes nothing that is done")
    vars(module).update(constants)
    try:
        yield
    finally:
        vars(module).update(before)
        for function, code in functions.items():
            function.__code__ = code


def _functions(code: CodeType) -> Iterator[CodeType]:
    """Give the code of all functions and methods of a module or class."""
    for part in code.co_consts:
        if isinstance(part, CodeType) and not part.co_name.startswith("<"):
            if part.co_flags & _FUNCTION:
                yield part
            else:
                yield from _functions(part)


def _shape(code: CodeType) -> Any:
    """Give what a function does, wherever it stands in its file."""
    parts = [_shape(part) if isinstance(part, CodeType) else (type(part), part) for part in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, parts


def _find(module: ModuleType, name: str) -> FunctionType:
    found: Any = module
    for part in name.split("."):
        found = vars(found)[part]
    if not isinstance(found, FunctionType):
        raise TypeError(f"{name} of {module.__name__} is no plain function")
    return found


def _constants(module: ModuleType, source: str, changed: str) -> dict[str, Any]:
    """Give the constants of a module that are others now."""
    constants: dict[str, Any] = {}
    standing = {ast.dump(statement) for statement in ast.parse(source).body}
    for statement in ast.parse(changed).body:
        if isinstance(statement, ast.Assign) and ast.dump(statement) not in standing:
            exec(compile(ast.Module([statement], []), "<mutation>", "exec"), dict(vars(module)), constants)  # noqa: S102 - the project's own text
    return constants
