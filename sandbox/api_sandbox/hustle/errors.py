"""Refusals in the form of the vendor: `{"code": ..., "message": ...}`."""

import msgspec


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a defect
    """A request that the API answers with an error.

    Attributes:
        status: The HTTP status, which is the `code` of the envelope too.
        message: What went wrong.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def envelope(status: int, message: str) -> bytes:
    """The JSON of an error."""
    return msgspec.json.encode({"code": status, "message": message})
