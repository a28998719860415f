"""Where the tokens are kept that change with every exchange: in a file, for all runs on this machine that use them."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from typing import TYPE_CHECKING, Protocol

import filelock
import msgspec
from singer_http.http.auth import validated_token
from singer_http.http.errors import AuthenticationError, ConfigurationError
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from singer_http.http.clock import Clock

logger = logging.getLogger(__name__)

LOCK_PATIENCE = 300.0
"""Seconds to wait for another run that is exchanging the token."""
_GLANCE = 0.2
"""Seconds after which to look whether it is through."""


class StoredTokens(msgspec.Struct):
    """What the store keeps of one configured token.

    Attributes:
        refresh_token: The one to use next.
        access_token: The one that came with it.
        expires_at: When that one ends, in seconds since 1970.
        renew_at: When it is to be exchanged.
        begun_at: When an exchange of the refresh token began that may have succeeded; 0 for none.
        refused_at: When the refresh token was refused; 0 if it was not.
        refusals: When access tokens were exchanged because the API refused them, within an hour.
    """

    refresh_token: str
    access_token: str = ""
    expires_at: float = 0.0
    renew_at: float = 0.0
    begun_at: float = 0.0
    refused_at: float = 0.0
    refusals: list[float] = []

    def __post_init__(self) -> None:
        """Something other than a token means that the file is damaged."""
        self.refresh_token = validated_token(self.refresh_token)
        self.access_token = self.access_token and validated_token(self.access_token)


_decode_kept = msgspec.json.Decoder(StoredTokens).decode


class AnyTokenStore(Protocol):
    """Where tokens are kept, for all runs that use them."""

    def locked(self, clock: Clock) -> contextlib.AbstractContextManager[None]:
        """Keep other runs from it; raises :class:`AuthenticationError` where another one keeps it for too long."""

    def read(self) -> StoredTokens:
        """What is kept, or the configured token. Called with the lock."""

    def write(self, kept: StoredTokens) -> None:
        """Replace what is kept, wholly or not at all; it outlives a crash when this returns. Called with the lock."""


class TokenStore(AnyTokenStore):
    """One file for one configured token, for all runs that use it.

    The file's name is a hash of the configured token: a new token gets a new file.

    Args:
        folder: Where the files are; it is made if it is missing.
        configured: The refresh token in the settings.
    """

    def __init__(self, folder: Path, configured: str) -> None:
        self._configured = configured
        self.path = folder / f"{hashlib.sha256(configured.encode()).hexdigest()[:32]}.json"

    @override
    @contextlib.contextmanager
    def locked(self, clock: Clock) -> Iterator[None]:
        """Keep other runs from the file; raises :class:`ConfigurationError` too, where the folder is of no use."""
        lock = filelock.FileLock(self.path.with_suffix(".lock"), blocking=False, mode=0o600)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            wait_for_lock(lambda: _take(lock), lock.lock_file, clock)
            try:
                yield
            finally:
                lock.release()
        except OSError as error:
            raise ConfigurationError(
                f"token_path is not valid: {self.path.parent} cannot be used ({error.strerror}), and a rotated token"
                " must not be lost."
            ) from None

    @override
    def read(self) -> StoredTokens:
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            # A run was cut off after it wrote this file, before it put it in place.
            _decode_kept(self._new.read_bytes())
            self._put_in_place()
        try:
            return _decode_kept(self.path.read_bytes())
        except FileNotFoundError:
            return StoredTokens(self._configured)
        except (msgspec.DecodeError, UnicodeDecodeError):
            logger.warning("%s is damaged: the token in the settings is used.", self.path)
            return StoredTokens(self._configured)

    @override
    def write(self, kept: StoredTokens) -> None:
        self._new.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(msgspec.json.encode(kept))
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            self._new.unlink(missing_ok=True)
            raise
        self._put_in_place()

    @property
    def _new(self) -> Path:
        return self.path.with_suffix(".new")

    def _put_in_place(self) -> None:
        self._new.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _take(lock: filelock.BaseFileLock) -> bool:
    with contextlib.suppress(filelock.Timeout):
        lock.acquire()
    return lock.is_locked


def wait_for_lock(take: Callable[[], bool], place: str, clock: Clock) -> None:
    """Wait for a lock on a clock that can be stopped; raises :class:`AuthenticationError` where that takes too long."""
    until = clock.monotonic() + LOCK_PATIENCE
    if take():
        return
    logger.info("Another run is logging in with the same token: waiting for it, %.0f s at most.", LOCK_PATIENCE)
    while clock.monotonic() < until:
        clock.sleep(_GLANCE)
        if take():
            return
    raise AuthenticationError(
        f"another run has been logging in with the same token for more than {LOCK_PATIENCE / 60:.0f} min"
        f" ({place} is locked); run again when it is through."
    )
