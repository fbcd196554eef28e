"""Parameters as a person sets them: typed, checked, with a default and one line that says what each is.

Pure. Which parameters there are, each pipeline and task says for itself (`pipeline.graph.definitions`,
`pipeline.amazon_reviews.model.fit_model`).
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pipeline.errors import SettingsError, UsageError
from pipeline.versions import version_key

type_names = {str: "text", int: "whole number", float: "number", bool: "true or false"}

ParameterValue = str | int | float | bool


@dataclass(frozen=True)
class Parameter:
    """One parameter of the pipeline."""

    name: str
    default: ParameterValue
    description: str
    check: Callable[[ParameterValue], str | None] = lambda _: None
    """Returns what is wrong with a value of the right type, or nothing."""

    @property
    def type(self) -> type:
        """The type of its values."""
        return type(self.default)

    def parse(self, text: str, flag: str = "") -> ParameterValue:
        """Return the value that `text` spells.

        Args:
            text: What was given.
            flag: The command line's option that it was given with, where that is not `--set`.

        Raises:
            SettingsError: It spells no value of this parameter's type, or one out of range.
        """
        called = flag or f"parameter {self.name}"
        default = str(self.default)
        hint = f"{flag} {shlex.quote(default)}" if flag else f"--set {shlex.quote(f'{self.name}={default}')}"
        try:
            value = parse_as(self.type, text)
        except ValueError:
            raise SettingsError(f"{called}: {text!r} is not a {type_names[self.type]}", hint=hint) from None
        problem = self.check(value)
        if problem:
            raise SettingsError(f"{called}: {problem}", hint=hint)
        return value


def parse_as(kind: type, text: str) -> ParameterValue:
    """Return the value of this type that a text spells.

    Raises:
        ValueError: It spells none.
    """
    return _parsers[kind](text)


def _parse_bool(text: str) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        return known[text.strip().lower()]
    except KeyError:
        raise ValueError(text) from None


def _parse_int(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text.strip(), re.ASCII):
        raise ValueError(text)
    return int(text)


_parsers: dict[type, Callable[[str], ParameterValue]] = {
    str: lambda text: text.strip(),
    int: _parse_int,
    float: float,
    bool: _parse_bool,
}


def not_blank(value: ParameterValue) -> str | None:
    """Refuse an empty text."""
    return None if str(value).strip() else "is empty"


def a_version(value: ParameterValue) -> str | None:
    """Refuse what is not a version number."""
    try:
        version_key(str(value))
    except SettingsError as error:
        return error.message
    return None


def a_share(value: ParameterValue) -> str | None:
    """Refuse what is not between 0 and 1, both excluded."""
    return None if 0 < float(value) < 1 else f"{value} is not between 0 and 1 (both excluded)"


def a_seed(value: ParameterValue) -> str | None:
    """Refuse what NumPy takes for no seed."""
    return None if 0 <= int(value) < 2**32 else f"{value} is not between 0 and {2**32 - 1}"


def one_of(*names: str) -> Callable[[ParameterValue], str | None]:
    """Refuse what is not one of these texts."""
    return lambda value: None if value in names else f"{value!r} is none of {', '.join(names)}"


def at_least(least: int) -> Callable[[ParameterValue], str | None]:
    """Refuse a smaller number."""
    return lambda value: None if float(value) >= least else f"{value} is less than {least}"


def between(least: int, most: int) -> Callable[[ParameterValue], str | None]:
    """Refuse a number outside these bounds, which are allowed themselves."""
    return lambda value: None if least <= float(value) <= most else f"{value} is not between {least} and {most}"


def positive(value: ParameterValue) -> str | None:
    """Refuse what is not a finite number above 0."""
    return None if 0 < float(value) < float("inf") else f"{value} is not a number above 0"


def defaults_of(parameters: Iterable[Parameter]) -> dict[str, ParameterValue]:
    """Return every parameter's default."""
    return {parameter.name: parameter.default for parameter in parameters}


def parse_assignments(
    parameters: Iterable[Parameter], assignments: Iterable[str], given: Mapping[str, tuple[str, object]] | None = None
) -> dict[str, ParameterValue]:
    """Return every parameter's value, with what was given applied to the defaults.

    Args:
        parameters: All that there are.
        assignments: `name=value` texts, from `--set`.
        given: Name → the option of its own, and its value there; `None` where it was not given.

    Raises:
        UsageError: An assignment has no `=`.
        SettingsError: An unknown parameter, or a value of the wrong type or out of range.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values = defaults_of(known.values())
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals:
            raise UsageError(f"--set {assignment}: expected name=value", hint="--set dataset_version=1.1")
        values[name] = known[require_known(name, known, "parameter")].parse(text)
    for name, (flag, value) in (given or {}).items():
        if value is not None:
            values[name] = known[name].parse(str(value), flag)
    return values


def help_text(parameters: Iterable[Parameter]) -> str:
    """Return the lines that `--help` shows for parameters."""
    listed = list(parameters)
    width = max(len(parameter.name) for parameter in listed)
    return "\b\nParameters (--set NAME=VALUE):\n" + "\n".join(
        f"  {parameter.name:{width}}  {parameter.description} "
        f"[{type_names[parameter.type]}, default {parameter.default}]"
        for parameter in listed
    )


def require_known(name: str, names: Iterable[str], kind: str) -> str:
    """Return `name` if it is one of `names`.

    Raises:
        SettingsError: It is not; the message names the nearest.
    """
    names = list(names)
    if name in names:
        return name
    nearest = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {nearest[0]}? " if nearest else ""
    raise SettingsError(f"unknown {kind} {name!r}", hint=f"{meant}{kind}s are: {', '.join(names)}")
