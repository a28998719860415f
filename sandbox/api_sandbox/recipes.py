"""Recipes: what records are made of, as data. A recipe names the fields of a record and tells what each holds.

A text that begins with `$` is a word with arguments, or the name of something known; all else stands for itself::

    name: $title                          a word that draws
    user_id: $member.user_id              something known, and an attribute of it
    email: $text user{number}@example.org
    _first: $some_day                     known from here on, but not shown
    budget: $budget                       another recipe
    with: $past                           fields that a word or another recipe gives
    when 40%: {note: $note}               fields that are there by chance,
    when not task_id: {type: free}        or depending on what is known,
    when _status=approved: {paid: true}   or on one value of it
"""

import operator
import re
from collections.abc import Callable, Mapping
from functools import reduce
from importlib.resources import files
from typing import Any

import yaml

from api_sandbox.dice import Dice
from api_sandbox.texts import TEXTS

Fields = dict[str, Any]
Known = dict[str, Any]
"""What is known while a record is made: `dice`, what the caller adds, and the names that begin with `_`."""
Word = Callable[..., Any]
"""Is given what is known and its arguments."""
Recipe = Callable[[Known], Any]

_NUMBER = re.compile(r"-?[0-9]+")
_OPERATORS: Mapping[str, Callable[[Any, int], Any]] = {
    "+": operator.add,
    "*": operator.mul,
    "/": operator.truediv,
}


def _dice(known: Known) -> Dice:
    dice: Dice = known["dice"]
    return dice


def _below(known: Known, bound: int, *steps: str) -> Any:
    """A number below a bound, and what is done to it: `$below 100 /4 +1`."""
    drawn: Any = _dice(known).below(bound)
    for step in steps:
        drawn = _OPERATORS[step[0]](drawn, int(step[1:]))
    return drawn


WORDS: Mapping[str, Word] = {
    "title": lambda known: TEXTS.title(_dice(known)),
    "note": lambda known: _dice(known).pick(TEXTS.notes),
    "word": lambda known: _dice(known).pick(TEXTS.words),
    "given": lambda known: _dice(known).pick(TEXTS.given),
    "family": lambda known: _dice(known).pick(TEXTS.family),
    "place": lambda known: _dice(known).pick(TEXTS.places),
    "pick": lambda known, *choices: _dice(known).pick(choices),
    "one_of": lambda known, name: _dice(known).pick(known[name]),
    "chance": lambda known, percent: _dice(known).chance(percent),
    "below": _below,
    "money": lambda known, cents: f"{_dice(known).below(cents) / 100:.2f}",
    "is": lambda known, name, wanted: known[name] == wanted,
}


def load_yaml(package: str, name: str) -> Any:
    """Read a file of data that is in a package."""
    text = files(package).joinpath(name).read_text(encoding="utf-8")
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


def load_recipes(package: str, words: Mapping[str, Word]) -> Mapping[str, Recipe]:
    """Read the `recipes.yml` of a package.

    Args:
        package: Where it is.
        words: What its recipes can say besides `WORDS`.
    """
    recipes: dict[str, Recipe] = {}
    # Recipes find each other when they are used first, so their order does not matter.
    every = {**WORDS, **words}
    for name, recipe in load_yaml(package, "recipes.yml").items():
        recipes[name] = _recipe(recipe, every, recipes)
    return recipes


def look_up(known: Known, name: str) -> Any:
    """Something known, or an attribute of it: `member.user_id`."""
    first, *path = name.split(".")
    return reduce(lambda value, key: value[key] if isinstance(value, dict) else getattr(value, key), path, known[first])


def _recipe(value: Any, words: Mapping[str, Word], recipes: Mapping[str, Recipe]) -> Recipe:
    if isinstance(value, dict):
        return _of_fields([(name, _recipe(one, words, recipes)) for name, one in value.items()])
    if isinstance(value, list):
        items = [_recipe(one, words, recipes) for one in value]
        return lambda known: [item(known) for item in items]
    if not isinstance(value, str) or not value.startswith("$"):
        return lambda _known: value
    name, _, rest = value[1:].partition(" ")
    if name == "text":
        return rest.format_map
    if name in words:
        word, arguments = words[name], [int(one) if _NUMBER.fullmatch(one) else one for one in rest.split()]
        return lambda known: word(known, *arguments)
    return lambda known: look_up(known, name) if name.partition(".")[0] in known else recipes[name](known)


def _of_fields(steps: list[tuple[str, Recipe]]) -> Recipe:
    conditions = {name: _condition(name.removeprefix("when ")) for name, _ in steps if name.startswith("when ")}

    def made(known: Known) -> Fields:
        fields: Fields = {}
        for name, recipe in steps:
            if name in conditions:
                if conditions[name](known):
                    fields |= recipe(known)
            elif name == "with":
                fields |= recipe(known)
            else:
                (known if name.startswith("_") else fields)[name] = recipe(known)
        return fields

    return made


def _condition(text: str) -> Callable[[Known], bool]:
    if text.endswith("%"):
        percent = int(text[:-1])
        return lambda known: _dice(known).chance(percent)
    if text.startswith("not "):
        other = _condition(text.removeprefix("not "))
        return lambda known: not other(known)
    name, _, wanted = text.partition("=")
    return lambda known: look_up(known, name) == wanted if wanted else bool(look_up(known, name))
