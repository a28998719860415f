"""Runs the commands of a document as a reader would: in one shell, one after the other, on accounts in the sandbox."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.meltano import Meltano
from demo.processes import SCRIPTS
from tests.documents.blocks import ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ASSIGNED = re.compile(r"\b((?:TAP|TARGET)_[A-Z_]+(?<!_PATH))=('[^']*'|\S+)")
_VARYING = (
    (re.compile(r"\b(?=\w*\d)(?=\w*[a-z])\w{19,}\b"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.+]+"), "TIME"),
    (re.compile(r" +(?=[│┃]|$)"), " "),
    (re.compile(r"[┏┳┡╇└┴━─┓┩┘]+"), "-"),
)
_STAND_INS = r"""
set -euo pipefail
# What would change the machine, or takes too long, is looked at and not done.
pip() { [ "$1" = install ] && printf '%s\n' "${@:2}" >> installed.txt; }
uv() { [ "$1 $2" = "sync --project" ] && [ -f "$ROOT/$3/uv.lock" ]; }
airflow() { printf 'airflow %s\n' "$*"; }
make() { command make --dry-run -C "$ROOT" "$@" > /dev/null; }
any-tap() { cat messages.jsonl; }
target-of-your-choice() { sed -n 's/^{"type":"STATE","value":\(.*\)}$/\1/p'; }
api-sandbox() {
  coproc command api-sandbox "$@"
  read -r line <&"${COPROC[0]}"
  echo "$line"
  kill "$COPROC_PID"
  wait "$COPROC_PID"
}
"""


@dataclass(frozen=True)
class Shell:
    """A shell in a folder of its own.

    Attributes:
        folder: Where it runs.
        variables: What its programs are told of the sandbox; takes the place of what a document sets to an example.
        programs: Where the programs are, also for a document that activates its environment.
    """

    folder: Path
    variables: Mapping[str, str]
    programs: Path

    def run(self, document: Path, *, has_accounts: bool = False) -> str:
        """Run the commands of a document; returns what they printed, and fails where one of them does.

        Args:
            document: Whose commands.
            has_accounts: Whether its reader has set the credentials before.
        """
        activate = self.folder / ".venv" / "bin" / "activate"
        activate.parent.mkdir(parents=True)
        activate.write_text(f"PATH={self.programs}:{SCRIPTS}:$PATH\n")
        (self.folder / "meltano").mkdir(exist_ok=True)
        script = "".join(f"# {block.place}\n{self._with_accounts(block.text)}" for block in blocks(document, "sh"))
        outside = self.variables if has_accounts else self._outside()
        variables = {**outside, "ROOT": str(ROOT)}
        environment = Meltano(self.folder / "meltano", variables, self.programs).environment
        done = subprocess.run(
            ["bash", "-xc", _STAND_INS + script],
            cwd=self.folder,
            env={**environment, "HOME": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout

    def _outside(self) -> dict[str, str]:
        """What a document does not set itself: where the sandbox is, in the place of the vendors."""
        return {name: value for name, value in self.variables.items() if name.endswith(("_URL", "_PATH"))}

    def _with_accounts(self, text: str) -> str:
        return _ASSIGNED.sub(lambda found: f"{found[1]}='{self.variables.get(found[1], found[2])}'", text)


def printed(text: str) -> set[str]:
    """The lines of what a program printed, alike for every run."""
    for varying, same in _VARYING:
        text = varying.sub(same, text)
    return {re.sub(r"^[-\d: ,|]*(?:INFO|WARNING)[ |\w.-]*\| ", "", line).strip() for line in text.splitlines()}
