"""Memory goes back to the system when pages are freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PAGES = 200
PAGE = 200_000
CHILD = f"""
from resource import getpagesize
from singer_http.memory import return_large_blocks

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * getpagesize()

return_large_blocks()
bytearray({2 * PAGE})  # once this is freed, many a glibc would keep blocks of this size
before = resident()
pages, small = [], []
for number in range({PAGES}):
    pages.append(b"x" * {PAGE})
    small.append(b"y" * 1000)  # what stays of a page lies between the pages
pages.clear()
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps large blocks")
def test_pages_are_given_back() -> None:
    assert int(subprocess.check_output([sys.executable, "-c", CHILD])) < 10 * PAGE
