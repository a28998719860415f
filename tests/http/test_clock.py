"""The clock that all waiting is on."""

from __future__ import annotations

import threading

from singer_http.http.clock import Clock

FIRST_WAITS = 20_000
"""Before Python 3.13, a queue hung in about one of 4,000 of its first waits that were as short as here."""


def test_a_first_wait_that_is_over_at_once_ends() -> None:
    def wait() -> None:
        for _ in range(FIRST_WAITS):
            Clock().sleep(1e-6)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(120)
    assert not waiting.is_alive()
