"""Repeatable chance: the same key gives the same draws, in whatever order things are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from hashlib import blake2b
from typing import TypeVar

_T = TypeVar("_T")

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_ID_LENGTH = 10  # As in the vendor's examples.
_ID_SPACE = len(_ALPHABET) ** _ID_LENGTH
_KINDS = 16
_BEGINNING = datetime(2016, 2, 29, 12, tzinfo=timezone.utc).replace(tzinfo=None)  # UTC throughout.


class Dice:
    """Draws for one thing, named by a key. About 45 small draws are in it, twice what a lead needs.

    Each draw is done in place, without a call to another: they are most of the cost of a lead.
    """

    __slots__ = ("_left",)

    def __init__(self, key: str) -> None:
        self._left = int.from_bytes(blake2b(key.encode(), digest_size=40).digest(), "little")

    def below(self, bound: int) -> int:
        """A number from 0 to `bound` - 1."""
        self._left, drawn = divmod(self._left, bound)
        return drawn

    def chance(self, percent: int) -> bool:
        """True in `percent` of 100 cases."""
        self._left, drawn = divmod(self._left, 100)
        return drawn < percent

    def pick(self, choices: Sequence[_T]) -> _T:
        """One of the choices."""
        self._left, drawn = divmod(self._left, len(choices))
        return choices[drawn]


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids like the vendor's, without a table: number -> id and back.

    Numbers are shuffled by a multiplication modulo 62^10, so that ids look random and are never twice.
    """

    multiplier: int
    inverse: int
    offset: int

    @classmethod
    def of_seed(cls, seed: int) -> "Ids":
        """The ids of a scenario's seed."""
        dice = Dice(f"{seed}/ids")
        multiplier = dice.below(_ID_SPACE)
        # Without a common factor with 62 = 2 * 31 the multiplication can be undone.
        while not (multiplier % 2 and multiplier % 31):
            multiplier += 1
        return cls(multiplier, pow(multiplier, -1, _ID_SPACE), dice.below(_ID_SPACE))

    def make(self, kind: int, number: int) -> str:
        """The id of the `number`-th thing of a kind (0 to 15)."""
        rest = ((number * _KINDS + kind) * self.multiplier + self.offset) % _ID_SPACE
        base = len(_PAIRS)
        pairs = []
        for _ in range(_ID_LENGTH // 2):
            rest, pair = divmod(rest, base)
            pairs.append(_PAIRS[pair])
        return "".join(pairs)

    def find(self, kind: int, text: str) -> int | None:
        """The number of an id of a kind; None if it cannot be one."""
        if len(text) != _ID_LENGTH or not all(letter in _VALUES for letter in text):
            return None
        value = 0
        for place in range(_ID_LENGTH - 2, -1, -2):
            pair = _VALUES[text[place]] * len(_ALPHABET) + _VALUES[text[place + 1]]
            value = value * len(_PAIRS) + pair
        number, found = divmod((value - self.offset) * self.inverse % _ID_SPACE, _KINDS)
        return number if found == kind else None


def moment(milliseconds: int) -> str:
    """An ISO 8601 time, in milliseconds and UTC as the vendor writes it, so long after a fixed beginning."""
    then = _BEGINNING + timedelta(milliseconds=milliseconds)
    return f"{then.isoformat(timespec='milliseconds')}Z"
