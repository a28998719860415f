"""What values of a scenario may be."""

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Name = Annotated[str, msgspec.Meta(min_length=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a scenario. Unknown keys are refused."""


class ForbiddenParts(Settings, frozen=True, kw_only=True):
    """Organizations by their indices of which something may not be read; None forbids it as a whole."""

    organizations: tuple[Count, ...] | None = None

    def covers(self, organization: int | None) -> bool:
        """Whether it is forbidden to read of an organization; None stands for all of them together."""
        return self.organizations is None or organization in self.organizations
