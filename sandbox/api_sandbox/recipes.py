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
from functools import cache
from importlib.resources import files
from operator import itemgetter
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
    content = load_yaml(package, "recipes.yml")
    # Recipes find each other when they are used, so their order does not matter.
    others: dict[str, Word] = {name: lambda known, name=name: recipes[name](known) for name in content}
    for name, recipe in content.items():
        recipes[name] = _recipe(recipe, {**WORDS, **words, **others})
    return recipes


def look_up(known: Known, name: str) -> Any:
    """Something known, or an attribute of it: `member.user_id`."""
    return _looker(name)(known)


@cache
def _looker(name: str) -> Recipe:
    first, _, key = name.partition(".")
    if not key:
        return itemgetter(first)

    def look(known: Known) -> Any:
        value = known[first]
        return value[key] if isinstance(value, dict) else getattr(value, key)

    return look


def _recipe(value: Any, words: Mapping[str, Word]) -> Recipe:
    if isinstance(value, dict):
        return _of_fields(value, words)
    if isinstance(value, list):
        items = [_recipe(one, words) for one in value]
        return lambda known: [item(known) for item in items]
    if not isinstance(value, str) or not value.startswith("$"):
        return lambda _known: value
    name, _, rest = value[1:].partition(" ")
    if name == "text":
        return rest.format_map
    if name not in words:
        return _looker(name)
    word, arguments = words[name], [int(one) if _NUMBER.fullmatch(one) else one for one in rest.split()]
    return (lambda known: word(known, *arguments)) if arguments else word


def _of_fields(recipe: Mapping[str, Any], words: Mapping[str, Word]) -> Recipe:
    steps = [_step(name, _recipe(value, words)) for name, value in recipe.items()]

    def made(known: Known) -> Fields:
        fields: Fields = {}
        for step in steps:
            step(known, fields)
        return fields

    return made


def _step(name: str, recipe: Recipe) -> Callable[[Known, Fields], None]:
    """Puts a field, or several, into a record."""
    if name.startswith("when "):
        holds = _condition(name.removeprefix("when "))
        return lambda known, fields: fields.update(recipe(known)) if holds(known) else None
    if name == "with":
        return lambda known, fields: fields.update(recipe(known))
    if name.startswith("_"):
        return lambda known, _fields: known.update({name: recipe(known)})
    return lambda known, fields: fields.update({name: recipe(known)})


def _condition(text: str) -> Callable[[Known], bool]:
    if text.endswith("%"):
        percent = int(text[:-1])
        return lambda known: _dice(known).chance(percent)
    if text.startswith("not "):
        other = _condition(text.removeprefix("not "))
        return lambda known: not other(known)
    name, _, wanted = text.partition("=")
    look = _looker(name)
    return lambda known: look(known) == wanted if wanted else bool(look(known))
