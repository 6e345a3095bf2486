"""Where a manifest names the model: a field, and an environment variable of its containers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opslore.config_deploy import Resource
from opslore.errors import ConfigError
from opslore.release import yamltext
from opslore.release.yamltext import Step

_TEMPLATES: tuple[tuple[Step, ...], ...] = (
    ("spec", "template", "spec", "containers"),
    ("spec", "jobTemplate", "spec", "template", "spec", "containers"),
    ("spec", "containers"),
)
"""Where the containers of every kind with pods are: Deployment and its like, CronJob, Pod."""


@dataclass(frozen=True)
class Place:
    """One text in a manifest that names the model."""

    steps: tuple[Step, ...]
    """The way to the text itself."""
    value: str | None
    """What stands there; None when nothing does."""
    variable: str = ""
    """Name of the environment variable, if it is one."""
    new_list: bool = False
    """Neither the variable nor the list it belongs to is there."""

    @property
    def shown(self) -> str:
        """What people call it."""
        at = yamltext.shown(self.steps)
        return f"{at} ({self.variable})" if self.variable else at


def places(manifest: Any, section: Resource, where: str) -> list[Place]:
    """Every place, the field first; what cannot be set is refused here.

    Args:
        manifest: the object as dicts, lists and texts.
        section: the target in the agent file.
        where: what the object is called in messages.

    Raises:
        ConfigError: a map where a text should be, or a variable that stands twice or comes from
            elsewhere.
    """
    found = []
    if section.key:
        found.append(_field(manifest, yamltext.path(section.key), where))
    if section.env:
        lists = _lists(manifest, section, where)
        found += [_variable(manifest, steps, section.env, where) for steps in lists]
    return found


def operations(found: Sequence[Place], wanted: Sequence[str | None]) -> list[dict[str, Any]]:
    """The JSON patch (RFC 6902) that brings these places to these values.

    Args:
        found: the places as they are.
        wanted: a value for each; None takes the field or the variable away.
    """
    patch: list[dict[str, Any]] = []
    for place, value in zip(found, wanted, strict=True):
        if place.value == value:
            continue
        item = place.steps[:-1] if place.variable else place.steps
        if value is None:
            patch.append({"op": "remove", "path": _pointer(item)})
        elif place.value is not None or not place.variable:
            patch.append({"op": "add", "path": _pointer(place.steps), "value": value})
        else:
            entry = {"name": place.variable, "value": value}
            above, whole = (item[:-1], [entry]) if place.new_list else (item, entry)
            patch.append({"op": "add", "path": _pointer(above), "value": whole})
    return patch


def _field(manifest: Any, steps: tuple[Step, ...], where: str) -> Place:
    above = _below(manifest, steps[:-1])
    if not isinstance(above, dict | list):
        raise ConfigError(
            f"deploy: {where} has no {yamltext.shown(steps[:-1])}, so no {yamltext.shown(steps)}",
            hint="mend deploy[].key: the path of the field that names the model",
        )
    value = _below(manifest, steps)
    if value is not None and not isinstance(value, str):
        raise ConfigError(
            f"deploy: {where}: {yamltext.shown(steps)} is no text but {_kind(value)}",
            hint="name the field inside it that names the model in deploy[].key",
        )
    return Place(steps, value)


def _lists(manifest: Any, section: Resource, where: str) -> list[tuple[Step, ...]]:
    """The ways to the lists of variables."""
    if section.env_key:
        steps = yamltext.path(section.env_key)
        if not isinstance(_below(manifest, steps[:-1]) if steps[1:] else manifest, dict | list):
            raise ConfigError(
                f"deploy: {where} has no {yamltext.shown(steps[:-1])}",
                hint="mend deploy[].env_key: the path of the list of {name, value}",
            )
        return [steps]
    for steps in _TEMPLATES:
        containers = _below(manifest, steps)
        if isinstance(containers, list) and containers:
            return [(*steps, number, "env") for number in range(len(containers))]
    raise ConfigError(
        f"deploy: {where} has no containers, so no place for the variable {section.env}",
        hint="name the list of {name, value} in deploy[].env_key, such as spec.env",
    )


def _variable(manifest: Any, steps: tuple[Step, ...], name: str, where: str) -> Place:
    items = _below(manifest, steps)
    at = f"deploy: {where}: {yamltext.shown(steps)}"
    if items is None:
        return Place((*steps, "-", "value"), None, name, new_list=True)
    if not isinstance(items, list):
        raise ConfigError(f"{at} is no list of variables but {_kind(items)}")
    maps = [(n, item) for n, item in enumerate(items) if isinstance(item, dict)]
    numbers = [n for n, item in maps if item.get("name") == name]
    if len(numbers) > 1:
        raise ConfigError(
            f"{at} has the variable {name} twice ([{numbers[0]}] and [{numbers[1]}]): "
            "the last one counts in a pod, and kubectl apply and Helm 4 refuse it",
            hint=f"remove one of them; if a chart already renders {name}, set only its value",
        )
    if not numbers:
        return Place((*steps, "-", "value"), None, name)
    item = items[numbers[0]]
    if "valueFrom" in item:
        source = item["valueFrom"]
        kind = ", ".join(source) if isinstance(source, dict) else "elsewhere"
        raise ConfigError(
            f"{at}[{numbers[0]}]: {name} comes from {kind}; "
            "a variable cannot have value and valueFrom",
            hint=f"change it where it comes from, or replace valueFrom by a value of {name}",
        )
    value = item.get("value", "")
    if not isinstance(value, str):
        raise ConfigError(f"{at}[{numbers[0]}]: the value of {name} is no text but {_kind(value)}")
    return Place((*steps, numbers[0], "value"), value, name)


def _below(manifest: Any, steps: tuple[Step, ...]) -> Any:
    for step in steps:
        if isinstance(manifest, dict):
            manifest = manifest.get(step)
        elif isinstance(manifest, list) and isinstance(step, int) and step < len(manifest):
            manifest = manifest[step]
        else:
            return None
    return manifest


def _pointer(steps: tuple[Step, ...]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _kind(value: Any) -> str:
    return {"dict": "a map", "list": "a list"}.get(type(value).__name__, f"{value!r}")
