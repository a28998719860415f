"""Words of many scripts, and the characters that break careless readers."""

from importlib.resources import files

import msgspec

from api_sandbox.dice import Dice


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a group is: a label, coordinates in degrees, a country and an IANA time zone."""

    label: str
    lat: float
    lng: float
    country: str
    timezone: str


class Texts(msgspec.Struct, frozen=True):
    """What names, notes and answers are made of."""

    given: tuple[str, ...]
    family: tuple[str, ...]
    words: tuple[str, ...]
    notes: tuple[str, ...]
    places: tuple[Place, ...]
    answers: tuple[str, ...]

    def title(self, dice: Dice) -> str:
        """Two words, the name of a thing."""
        return f"{dice.pick(self.words)} {dice.pick(self.words)}"


TEXTS = msgspec.json.decode(files("api_sandbox").joinpath("texts.json").read_bytes(), type=Texts)
