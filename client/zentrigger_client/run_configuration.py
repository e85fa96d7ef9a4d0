"""A ZenML run configuration that is given when publishing: read, checked, and put as JSON in ZenML's own words.

ZenML ignores keys and steps that it does not know. Here they are errors, all of them at once, each with a JSON pointer
and with what was probably meant.
"""

import difflib
import json
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from inspect import Parameter
from typing import Annotated, Any, NamedTuple, Union, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from zenml.config.pipeline_run_configuration import PipelineRunConfiguration
from zenml.config.source import SERIALIZE_AS_STRING_CONTEXT_KEY
from zenml.config.step_configurations import StepConfigurationUpdate
from zenml.enums import StackComponentType
from zenml.pipelines.pipeline_definition import Pipeline
from zenml.stack import Stack
from zenml.utils import settings_utils

Json = dict[str, Any]

REFUSED = {
    "run_name": "Runs are named after their ids.",
    "schedule": "Make a trigger of type schedule instead: zentrigger trigger put.",
    "build": "Publish with --image instead.",
    "secrets": "Publish with --secret VARIABLE=ARN instead.",
    "environment": "ZenML would keep it in clear. Use --secret VARIABLE=ARN for secrets, and parameters for all else.",
}
"""Keys of ZenML that make no sense here, and what to do instead."""

_REFUSED_SETTINGS = {"docker": "Nothing is built for a run. Publish with --image instead."}
_KNOWN_SHOWN = 30

_HOOKS = {
    "failure_hook_source": "on_failure",
    "success_hook_source": "on_success",
    "start_hook_source": "on_start",
    "end_hook_source": "on_end",
    "pause_hook_source": "on_pause",
    "resume_hook_source": "on_resume",
    "init_hook_source": "on_init",
    "init_hook_kwargs": "on_init_kwargs",
    "cleanup_hook_source": "on_cleanup",
}
"""Keys of a run configuration -> what `Pipeline.configure` calls them. ZenML 0.98 ignores these in a file."""


class Problem(NamedTuple):
    """One thing that is wrong, and where (RFC 6901)."""

    pointer: str
    detail: str


class ConfigurationError(ValueError):
    """A run configuration cannot be used; the text has everything that is wrong with it, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"    {pointer or '/'}: {detail}" for pointer, detail in problems))


@dataclass
class RunConfiguration:
    """A run configuration, part by part, and all that was found wrong with it so far."""

    parameters: Json = field(default_factory=dict)
    steps: dict[str, Json] = field(default_factory=dict)
    enable_cache: bool | None = None
    tags: list[str] = field(default_factory=list)
    options: Json = field(default_factory=dict)
    """What else it says, as JSON in ZenML's words."""
    problems: list[Problem] = field(default_factory=list)

    @property
    def pipeline_options(self) -> Json:
        """The options as `Pipeline.with_options` takes them; of settings, those of stack components left out.

        Which of these there are hangs on the stack, and that of the tasks is not here.
        """
        return {_HOOKS.get(name, name): value for name, value in _with_general_settings(self.options).items()}

    @property
    def step_options(self) -> dict[str, Json]:
        """The steps as ZenML's run configuration has them; of settings, those of stack components left out."""
        return {name: _with_general_settings(update) for name, update in self.steps.items()}

    def arguments(self, inputs: Mapping[str, Parameter]) -> Json:
        """Return the parameters as the pipeline's function takes them; what it does not take becomes a problem."""
        return self._coerced(self.parameters, inputs, "/parameters", "pipeline")

    def check_steps(self, pipeline: Pipeline) -> dict[str, Json]:
        """Return the steps' parameters as their functions take them; what these do not take becomes a problem.

        The pipeline has to be prepared.
        """
        values: dict[str, Json] = {}
        for step, update in self.steps.items():
            pointer = f"/steps/{_escaped(step)}"
            given = update.get("parameters") or {}
            invocation = pipeline.invocations.get(step)
            if invocation is None:
                detail = f"{pipeline.name} has no such step.{_meant(step, pipeline.invocations)}"
                if pipeline.is_dynamic:
                    detail = "ZenML ignores this: it is no step of a dynamic pipeline's `depends_on`."
                self.problems.append(Problem(pointer, detail))
                continue
            if pipeline.is_dynamic and given:
                detail = "ZenML ignores parameters of a dynamic pipeline's steps. Use parameters of the pipeline."
                self.problems.append(Problem(f"{pointer}/parameters", detail))
                continue
            fed = {
                *invocation.input_artifacts,
                *invocation.external_artifacts,
                *invocation.model_artifacts_or_metadata,
                *invocation.client_lazy_loaders,
            }
            for name in sorted({*fed, *invocation.parameters} & set(given)):
                detail = (
                    "This comes from another step or artifact, and is no parameter."
                    if name in fed
                    else "The pipeline passes this itself, so ZenML does not let it be set here. "
                    "Set the pipeline's own parameter, under `parameters`."
                )
                self.problems.append(Problem(f"{pointer}/parameters/{_escaped(name)}", detail))
            inputs = invocation.step.entrypoint_definition.inputs
            settable = {name: value for name, value in given.items() if name not in {*fed, *invocation.parameters}}
            values[step] = self._coerced(
                settable,
                {name: parameter for name, parameter in inputs.items() if name not in fed},
                f"{pointer}/parameters",
                f"step {step}",
            )
        return values

    def check_settings(self, stack: Stack, *, is_the_tasks_own: bool) -> None:
        """Look at the settings of stack components: unknown attributes, and such as the stack has not.

        A component that is not in the stack is no problem unless the stack is the one that tasks use.
        """
        for pointer, settings in (
            ("/settings", self.options.get("settings") or {}),
            *(
                (f"/steps/{_escaped(step)}/settings", update.get("settings") or {})
                for step, update in self.steps.items()
            ),
        ):
            for key, value in settings.items():
                known = stack.setting_classes.get(key)
                if settings_utils.is_general_setting_key(key) or not settings_utils.is_valid_setting_key(key):
                    continue
                if known is not None:
                    self.problems += _unknown_fields(known, value, f"{pointer}/{_escaped(key)}")
                elif is_the_tasks_own:
                    detail = f"The stack {stack.name} has nothing that takes these.{_meant(key, stack.setting_classes)}"
                    self.problems.append(Problem(f"{pointer}/{_escaped(key)}", detail))

    def _coerced(self, given: Json, inputs: Mapping[str, Parameter], pointer: str, owner: str) -> Json:
        """Return the values as their types have them, so that what is published as a default is what will run."""
        values: Json = {}
        for name, value in given.items():
            place = f"{pointer}/{_escaped(name)}"
            if name not in inputs:
                self.problems.append(Problem(place, f"The {owner} has no such parameter.{_meant(name, inputs)}"))
                continue
            annotation = inputs[name].annotation
            wrong = list(_unknown(annotation, value, place))
            try:
                if not wrong:
                    values[name] = _adapter(annotation).validate_python(value)
            except ValidationError as error:
                wrong = list(_validation_problems(error, place))
            self.problems += wrong
        return values


def _with_general_settings(part: Json) -> Json:
    settings = part.get("settings")
    if not settings:
        return part
    return {
        **part,
        "settings": {key: value for key, value in settings.items() if settings_utils.is_general_setting_key(key)},
    }


def _adapter(annotation: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - a type
    try:
        return TypeAdapter(annotation)
    except PydanticUserError:
        # A class that pydantic knows nothing of. No JSON is a value of it: the compiler will say so.
        return TypeAdapter(Any)


# ---------------------------------------------------------------------------------------------------------- reading


def read(text: str) -> RunConfiguration:
    """Read a run configuration in YAML, and check all of it that can be checked without the pipeline.

    Raises:
        ConfigurationError: The text is no YAML mapping, or holds what JSON cannot.

    """
    document = _document(text)
    problems = [
        *_placeholders(document, ""),
        *_refused(document, ""),
        *_unknown_fields(PipelineRunConfiguration, document, ""),
    ]
    steps = document.get("steps")
    for name, update in steps.items() if isinstance(steps, dict) else ():
        if isinstance(update, dict):
            problems += _refused(update, f"/steps/{_escaped(name)}")
    tags = document.get("tags")
    for position, tag in enumerate(tags if isinstance(tags, list) else ()):
        if not isinstance(tag, str):
            problems.append(Problem(f"/tags/{position}", "Here a tag is its name alone."))
    model, wrong = _validated(_without_problems(document, problems))
    problems += wrong
    content: Json = model.model_dump(mode="json", exclude_unset=True, context={SERIALIZE_AS_STRING_CONTEXT_KEY: True})
    said = {name: value for name, value in content.items() if value is not None}
    return RunConfiguration(
        parameters=said.pop("parameters", {}),
        steps={
            name: {key: value for key, value in update.items() if value is not None}
            for name, update in said.pop("steps", {}).items()
        },
        enable_cache=said.pop("enable_cache", None),
        tags=said.pop("tags", []),
        options=said,
        problems=problems,
    )


_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """YAML in which a key that is given twice is an error."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Json:
    seen: list[object] = []
    for key_node, _ in node.value:
        if key_node.tag == _MERGE:
            continue
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark)
        seen.append(key)
    return cast("Json", loader.construct_mapping(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _document(text: str) -> Json:
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - made from the safe loader
        content = {} if document is None else json.loads(json.dumps(document, default=_plain, allow_nan=False))
    except yaml.YAMLError as error:
        raise ConfigurationError([Problem("", f"This is no YAML: {' '.join(str(error).split())}")]) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError([Problem("", f"This holds what JSON cannot: {error}")]) from error
    if not isinstance(content, dict):
        raise ConfigurationError([Problem("", "A run configuration is a mapping of ZenML's keys.")])
    return content


def _plain(value: object) -> str:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__}")


def _placeholders(value: object, pointer: str) -> Iterator[Problem]:
    if isinstance(value, str) and "${" in value:
        yield Problem(
            pointer, "Text like ${NAME} is not allowed: ZenML would replace it by what the task's environment has."
        )
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _placeholders(name, pointer)
            yield from _placeholders(inner, f"{pointer}/{_escaped(name)}")
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _placeholders(inner, f"{pointer}/{position}")


def _refused(part: Json, pointer: str) -> Iterator[Problem]:
    """Find what makes no sense here, and settings that are none."""
    for name, instead in REFUSED.items():
        if part.get(name) is not None and name in _fields_at(pointer):
            yield Problem(f"{pointer}/{name}", f"This makes no sense here. {instead}")
    settings = part.get("settings")
    for key, value in settings.items() if isinstance(settings, dict) else ():
        place = f"{pointer}/settings/{_escaped(key)}"
        general = settings_utils.get_general_settings()
        if key in _REFUSED_SETTINGS:
            yield Problem(place, f"This makes no sense here. {_REFUSED_SETTINGS[key]}")
        elif key in general and isinstance(value, dict):
            yield from _unknown_fields(general[key], value, place)
            try:
                general[key].model_validate(value)
            except ValidationError as error:
                yield from _validation_problems(error, place)
        elif not settings_utils.is_valid_setting_key(key):
            known = [name for name in (*general, *StackComponentType.values()) if name not in _REFUSED_SETTINGS]
            yield Problem(place, f"ZenML has no such settings.{_meant(key, known)}")


def _fields_at(pointer: str) -> Iterable[str]:
    return (StepConfigurationUpdate if pointer else PipelineRunConfiguration).model_fields


def _without_problems(document: Json, problems: Sequence[Problem]) -> Json:
    """Return the document without the parts in which something is wrong: the rest can be checked further."""
    tainted = {_head(pointer.split("/")[1:]) for pointer, _ in problems}
    return _without(document, tainted)


def _validated(document: Json) -> tuple[PipelineRunConfiguration, list[Problem]]:
    """Give what ZenML makes of the document, and what it says is wrong; parts with something wrong are left out."""
    try:
        return PipelineRunConfiguration.model_validate(document), []
    except ValidationError as error:
        wrong = {_head([str(part) for part in problem["loc"]]) for problem in error.errors(include_url=False)}
        rest = PipelineRunConfiguration.model_validate(_without(document, wrong))
        return rest, list(_validation_problems(error, ""))


def _head(path: Sequence[str]) -> tuple[str, ...]:
    """Return which part of a document a path is in: a key, a key of one step, or one parameter."""
    names = [part.replace("~1", "/").replace("~0", "~") for part in path]
    length = 3 if names[:1] == ["steps"] else 1
    # Of parameters, each is a part of its own.
    return tuple(names[: length + 1] if names[length - 1 : length] == ["parameters"] else names[:length])


def _without(document: Json, parts: Iterable[tuple[str, ...]]) -> Json:
    kept = json.loads(json.dumps(document))
    for part in parts:
        holder: Any = kept
        for name in part[:-1]:
            holder = holder.get(name) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and part:
            holder.pop(part[-1], None)
    return dict(kept)


def _validation_problems(error: ValidationError, pointer: str) -> Iterator[Problem]:
    """Put pydantic's errors as problems; the values, which may be secrets by mistake, are not repeated."""
    seen: set[Problem] = set()
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        path = "".join(f"/{_escaped(str(part))}" for part in problem["loc"])
        found = Problem(pointer + path, problem["msg"])
        if found not in seen:
            seen.add(found)
            yield found


# ----------------------------------------------------------------------------------------------------- unknown keys


def _unknown(annotation: Any, value: object, pointer: str) -> Iterator[Problem]:  # noqa: ANN401 - a type
    """Find keys that the models in a type would ignore."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _unknown(arguments[0], value, pointer)
    elif origin in {Union, types.UnionType}:
        # What one of the types takes whole is in order; otherwise the first that has the value's shape is spoken of.
        found = [list(_unknown(option, value, pointer)) for option in arguments if _has_shape(option, value)]
        yield from min(found, key=len, default=[])
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if isinstance(value, dict) and annotation.model_config.get("extra") != "allow":
            yield from _unknown_fields(annotation, value, pointer)
    elif isinstance(value, dict) and _is_a(origin, Mapping) and len(arguments) > 1:
        for name, inner in value.items():
            yield from _unknown(arguments[1], inner, f"{pointer}/{_escaped(name)}")
    elif isinstance(value, list) and arguments and (_is_a(origin, Sequence) or _is_a(origin, set)):
        for position, inner in enumerate(value):
            yield from _unknown(arguments[0], inner, f"{pointer}/{position}")


def _unknown_fields(model: type[BaseModel], value: Json, pointer: str) -> Iterator[Problem]:
    known: dict[str, Any] = {}
    for name, declared in model.model_fields.items():
        known[name] = declared.annotation
        for alias in {declared.alias, declared.validation_alias}:
            if isinstance(alias, str):
                known[alias] = declared.annotation
    for name, inner in value.items():
        place = f"{pointer}/{_escaped(name)}"
        if name in known:
            yield from _unknown(known[name], inner, place)
        else:
            yield Problem(place, f"There is no such key.{_meant(name, known)}")


def _has_shape(annotation: Any, value: object) -> bool:  # noqa: ANN401 - a type
    origin = get_origin(annotation)
    if origin is Annotated:
        return _has_shape(get_args(annotation)[0], value)
    if isinstance(value, dict):
        model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        return model or annotation in {Any, dict} or _is_a(origin, Mapping)
    if isinstance(value, list):
        return annotation in {Any, list, tuple, set} or _is_a(origin, Sequence) or _is_a(origin, set)
    return True


def _is_a(origin: object, kind: type) -> bool:
    return isinstance(origin, type) and issubclass(origin, kind)


def _meant(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f" Did you mean {near[0]!r}?"
    return f" Known: {', '.join(names[:_KNOWN_SHOWN])}." if names else ""


def _escaped(name: str) -> str:
    """Give a name as a segment of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
