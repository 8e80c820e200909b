"""A section of which some values are wrong, as far as it can be read and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails

from offramp.recipe._error import lines

Model = TypeVar("Model", bound=BaseModel)
Answer = TypeVar("Answer")


def read(kind: type[Model], values: Any, *path: str, also: Sequence[str] = ()) -> tuple[Model | None, list[str]]:
    """`values`, which stand at `path` of a recipe, as a `kind`, and every mistake in them as a line.

    Pydantic checks a section as a whole only where each of its values is valid. Here values that are wrong are left
    out, and every check is made that asks for none of them; see `answers`. None where `values` are no section at all.
    `also`: keys that were there and have been taken out.
    """
    try:
        return kind.model_validate(values), []
    except ValidationError as error:
        errors = error.errors()
    if not isinstance(values, Mapping):
        return None, lines(errors, *path)
    parts: dict[str, Any] = {}
    problems: list[str] = []
    # Errors of no field are those of the whole, of which pydantic tells the first; all are made below.
    wrong = dict.fromkeys(str(item["loc"][0]) for item in errors if item["loc"])
    for name in wrong:
        told = [item for item in errors if item["loc"][:1] == (name,)]
        part, found = _inside(kind, name, values.get(name), told, path, also)
        problems += found
        if part is not None:
            parts[name] = part
    section = _left(kind, values, wrong, parts)
    return section, problems + [line for check in _checks(kind) for line in answers(_broken, check, section, path)]


def answers(check: Callable[..., list[Answer]], *arguments: Any) -> list[Answer]:
    """What `check` says of `arguments`; nothing where it asks for a value that `read` has left out."""
    try:
        return check(*arguments)
    except AttributeError as error:
        if error.name not in getattr(type(error.obj), "model_fields", ()):
            raise
        return []


def _inside(
    kind: type[BaseModel],
    name: str,
    given: Any,
    errors: Sequence[ErrorDetails],
    path: Sequence[str],
    also: Sequence[str],
) -> tuple[Any, list[str]]:
    """What can be read of a wrong field: a section, or sections, in part; None of anything else. And its mistakes."""
    annotation = kind.model_fields[name].annotation if name in kind.model_fields else None
    listed = get_origin(annotation) is tuple
    within = (t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, BaseModel))
    section = next(within, None)
    if section is not None and isinstance(given, Mapping):
        if listed:
            return None, [f'{".".join((*path, name))}: must be a list of sections, such as [{{ name = "small" }}]']
        return read(section, given, *path, name)
    if section is not None and isinstance(given, list) and given and all(isinstance(item, Mapping) for item in given):
        found = [read(section, item, *path, name, str(i)) for i, item in enumerate(given)]
        return tuple(part for part, _ in found), [line for _, told in found for line in told]
    keys = () if section is not None else (*kind.model_fields, *also)  # an error further down is of other keys
    return None, lines(errors, *path, known=keys)


def _left(kind: type[Model], values: Mapping[str, Any], wrong: Iterable[str], parts: Mapping[str, Any]) -> Model:
    """A `kind` of what is not `wrong`, and `parts`."""
    fields: dict[str, Any] = {
        name: (Any, None) if name in wrong else (info.annotation, info) for name, info in kind.model_fields.items()
    }
    # The same fields without the checks of the whole.
    plain = create_model(kind.__name__, __config__=kind.model_config, **fields)
    valid = plain.model_validate({name: value for name, value in values.items() if name not in wrong})
    found = kind.model_construct({*valid.model_fields_set, *parts}, **{**dict(valid), **parts})
    for name in wrong:
        if name not in parts:
            found.__dict__.pop(name, None)
    return found


def _checks(kind: type[BaseModel]) -> list[Callable[[BaseModel], Any]]:
    """What checks a section as a whole."""
    known = kind.__pydantic_decorators__.model_validators.values()
    return [decorator.func for decorator in known if decorator.info.mode == "after"]


def _broken(check: Callable[[BaseModel], Any], section: BaseModel, path: Sequence[str]) -> list[str]:
    try:
        check(section)
    except ValueError as error:
        return [f"{'.'.join(path) or 'recipe'}: {error}"]
    return []
