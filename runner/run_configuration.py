"""The ZenML run configuration of a run: the snapshot's, and over it what the run itself says.

ZenML takes a configuration's unknown keys for nothing; here each is an error.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from zenml.config.base_settings import BaseSettings
from zenml.config.pipeline_run_configuration import PipelineRunConfiguration
from zenml.pipelines.pipeline_definition import Pipeline
from zenml.stack import Stack
from zenml.utils import settings_utils

from runner.failures import Refused
from zentrigger.runs import Assignment

SWITCHES = ("enable_cache", "enable_artifact_metadata", "enable_artifact_visualization", "enable_step_logs")
"""What a run configuration switches for all steps, also for those whose code says otherwise (ZenML: Compiler)."""

_NOT_OURS = {
    "run_name": "each run has a name of its own",
    "schedule": "a run starts now; make a trigger for a schedule",
    "build": "the image is the snapshot's",
    "parameters": "the pipeline's parameters are given apart",
    "steps": "the steps' configuration is given apart",
}

_HOOKS = {
    f"{hook}_hook_source": f"on_{hook}"
    for hook in ("init", "cleanup", "failure", "success", "start", "end", "pause", "resume")
} | {"init_hook_kwargs": "on_init_kwargs"}
"""A run configuration's word for a hook -> that of a pipeline's configuration in code, which takes it, too."""

_NO_SUCH_KEY = "there is no such key"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunConfiguration:
    """What is configured for single steps, and for the pipeline, in ZenML's words."""

    steps: Mapping[str, Mapping[str, Any]]
    options: Mapping[str, Any]
    switches: Mapping[str, bool]
    """What of the snapshot's configuration is switched for all steps."""
    cached: bool
    """False: no step takes anything from the cache, whatever it asks for."""

    def parameters(self, step: str) -> dict[str, Any]:
        """Give the parameters that are set at a step."""
        return dict(self.steps.get(step, {}).get("parameters") or {})

    def of_steps(self, planned: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Give the configuration of each step; the planned ones have what is switched for all of them."""
        steps = {name: deepcopy(dict(step)) for name, step in self.steps.items()}
        for name in planned:
            step = {**self.switches, **steps.get(name, {})}
            if not self.cached:
                # A step that asks for its cache would keep it: the pipeline's own switch is its steps' default only.
                step["enable_cache"] = False
            if step:
                steps[name] = step
        return steps

    def apply(self, pipeline: Pipeline, run_name: str, planned: Iterable[str]) -> Pipeline:
        """Give a pipeline of the image as this run has it.

        Raises:
            Refused: `configuration_refused`: a hook cannot be imported, say.

        """
        options = {_HOOKS.get(name, name): value for name, value in self.options.items()}
        try:
            return pipeline.with_options(run_name=run_name, steps=self.of_steps(planned), **options)
        except (Exception, SystemExit) as error:  # a hook's module may raise anything
            raise _refused([f"{type(error).__name__}: {error}"]) from error


def run_configuration(assignment: Assignment, *, lasting: bool) -> RunConfiguration:
    """Lay what the run says over the snapshot's configuration.

    The run's `enable_cache` is for all steps if it is false, and the default of steps that say nothing if it is true;
    its tags come after the snapshot's. `lasting` says whether artifacts outlive the task: otherwise, what an earlier
    task has cached lay on that task's disk, and is gone with it.

    Raises:
        Refused: `configuration_refused`, with every key that a run configuration has not, and every wrong value.

    """
    _check(assignment)
    steps = deepcopy(assignment.configured_steps)
    for name, parameters in assignment.steps.items():
        if parameters:
            step = steps.setdefault(name, {})
            step["parameters"] = {**(step.get("parameters") or {}), **parameters}
    options = {name: value for name, value in assignment.options.items() if value is not None}
    switches = {name: options[name] for name in SWITCHES if name in options}
    cached = lasting and assignment.enable_cache is not False
    if assignment.enable_cache is not None:
        options["enable_cache"] = assignment.enable_cache
        switches.pop("enable_cache", None)
    if not cached:
        options["enable_cache"] = False
    tags = [*options.pop("tags", []), *assignment.tags, "zentrigger", f"zentrigger:{assignment.run_id}"]
    options["tags"] = [tag for number, tag in enumerate(tags) if tag not in tags[:number]]
    return RunConfiguration(steps=steps, options=options, switches=switches, cached=cached)


def check_settings(configuration: RunConfiguration, stack: Stack) -> None:
    """Check the settings of the pipeline and of its steps against the stack that the run uses.

    Settings of components that this stack has not are for other stacks: ZenML leaves them out, and the log says so.

    Raises:
        Refused: `configuration_refused`, with everything that is wrong.

    """
    places = {"configuration": configuration.options} | {
        f"configuration.steps.{name}": step for name, step in configuration.steps.items()
    }
    problems = [
        f"{place}.settings.{problem}"
        for place, configured in places.items()
        for problem in _settings_problems(configured.get("settings") or {}, stack)
    ]
    if problems:
        raise _refused(problems)


def _check(assignment: Assignment) -> None:
    problems = [
        f"configuration.{name} has no place in a run's configuration: {why}"
        for name, why in _NOT_OURS.items()
        if name in assignment.options
    ]
    told = {name: value for name, value in assignment.options.items() if name not in _NOT_OURS}
    told["steps"] = assignment.configured_steps
    problems += [f"configuration.{problem}" for problem in _faults(PipelineRunConfiguration, told)]
    if problems:
        raise _refused(problems)


def _settings_problems(settings: Mapping[str, Mapping[str, Any]], stack: Stack) -> Iterator[str]:
    for key, values in settings.items():
        if not settings_utils.is_valid_setting_key(key):
            yield f"{key}: there are no settings of this name"
            continue
        known = {key: BaseSettings.model_validate(values)}
        try:
            settings_utils.normalize_stack_component_setting_keys(known, components_by_type=stack.model.components)
        except ValueError as error:
            yield f"{key}: {error}"
            continue
        classes = {**stack.setting_classes, **settings_utils.get_general_settings()}
        found = [classes[name] for name in known if name in classes]
        if not found:
            _log.warning("settings.%s are left out: stack %s has no component that takes them", key, stack.name)
        for kind in found:
            yield from (f"{key}.{problem}" for problem in _faults(kind, values))


def _faults(kind: type[BaseModel], values: Mapping[str, Any]) -> Iterator[str]:
    """Name what a model would not take, or not look at."""
    # Settings have constructors of their own, which hear nothing of `extra`.
    yield from (f"{name}: {_NO_SUCH_KEY}" for name in values if name not in kind.model_fields)
    # A copy: ZenML's validators write into what they validate.
    known = deepcopy({name: value for name, value in values.items() if name in kind.model_fields})
    try:
        kind.model_validate(known, extra="forbid")
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False, include_context=False):
            place = ".".join(str(part) for part in problem["loc"])
            yield f"{place}: {_NO_SUCH_KEY if problem['type'] == 'extra_forbidden' else problem['msg']}"


def _refused(problems: list[str]) -> Refused:
    return Refused(
        "configuration_refused",
        f"Nothing was run, for ZenML does not take the snapshot's configuration: {'; '.join(problems)}. "
        "Publish the pipeline again with a configuration that is right.",
    )
