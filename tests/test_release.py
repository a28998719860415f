"""A release is of one version, and the changelog tells of it."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from docs.release import check_versions, notes

CHANGELOG = (
    "# Changelog\n\n## Unreleased\n\n- new\n\n## 0.2.0 - 2026-01-31\n\n### tap\n\n- reads\n\n## 0.1.0\n\n- began\n"
)


def test_the_entry_of_a_version() -> None:
    assert notes(CHANGELOG, "0.2.0") == "### tap\n\n- reads"
    assert notes(CHANGELOG, "0.1.0") == "- began"
    with pytest.raises(ValueError, match=r"nothing of 0\.2"):
        notes(CHANGELOG, "0.2")


def test_all_distributions_have_one_version() -> None:
    check_versions(version("singer-http"))
    with pytest.raises(ValueError, match=r"tap-hustle .*set the version there"):
        check_versions("99.0.0")
