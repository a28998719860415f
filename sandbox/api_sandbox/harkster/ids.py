"""Ids like the vendor's: letters and digits that tell nothing."""

from dataclasses import dataclass
from hashlib import blake2b

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_LENGTH = 19  # As in the guide's example of a request for a post.


@dataclass(slots=True)
class IdMint:
    """Gives ids, the same ones in the same order for a seed."""

    seed: int
    _given: int = 0

    def new(self) -> str:
        """An id that was never given before."""
        self._given += 1
        number = int.from_bytes(blake2b(f"{self.seed}/harkster/{self._given}".encode()).digest(), "little")
        letters = []
        for _ in range(_LENGTH):
            number, letter = divmod(number, len(_ALPHABET))
            letters.append(_ALPHABET[letter])
        return "".join(letters)
