"""Run Meltano as a user would, in this project, with a system directory and an environment of its own."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from demo.processes import PATH_WITH_SCRIPTS, SCRIPTS, DemoError, Program, running, tail

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = Path(__file__).parents[1]
# All that a run is told of the user's environment: with the rest, Meltano or a plugin might talk to something real.
# Meltano also copies its environment thousands of times, for each setting that it looks up.
OF_MACHINE = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ")
CHATTER = re.compile(r"METRIC|Inserting with SQL|Skipping parse of env var")  # what says nothing about a failure


@dataclass(frozen=True)
class MeltanoRun:
    """One finished Meltano command.

    Attributes:
        exit_code: What it ended with.
        seconds: How long it took.
        log: Where it wrote all that it had to say.
    """

    exit_code: int
    seconds: float
    log: Path

    def check(self) -> MeltanoRun:
        """Return the run if it succeeded.

        Raises:
            DemoError: If it did not.
        """
        if self.exit_code:
            problem = tail(self.log, without=CHATTER)
            raise DemoError(f"Meltano ended with exit code {self.exit_code}: {self.log}\n{problem}")
        return self


@dataclass
class Meltano:
    """The project's Meltano, with everything that it keeps in one directory.

    Attributes:
        directory: Holds its system database, its run files and its logs, so that nothing of the user's is touched.
        variables: Environment variables that meltano.yml refers to.
        scripts: Where Meltano and the plugins are.
    """

    directory: Path
    variables: Mapping[str, str]
    scripts: Path = SCRIPTS
    _runs: int = field(default=0, init=False)

    def run(self, *arguments: str, variables: Mapping[str, str] | None = None) -> MeltanoRun:
        """Run one Meltano command to its end.

        Args:
            arguments: The command, as on the command line.
            variables: Environment variables for this run alone.

        Returns:
            How it ended.
        """
        program = self.program(*arguments, variables=variables)
        begin = time.monotonic()
        with running(program) as meltano:
            exit_code = meltano.wait()
        return MeltanoRun(exit_code, time.monotonic() - begin, program.log)

    def program(self, *arguments: str, variables: Mapping[str, str] | None = None) -> Program:
        """One Meltano command, as a program to be started."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._runs += 1
        no_dotenv = self.directory / "no.env"
        no_dotenv.touch()
        return Program(
            name="Meltano",
            command=[self.scripts / "meltano", "--env-file", no_dotenv, "--log-format", "uncolored", *arguments],
            log=self.directory / f"meltano-{self._runs}.log",
            cwd=PROJECT,
            env=self.environment | dict(variables or {}),
        )

    @property
    def environment(self) -> dict[str, str]:
        """What commands run with."""
        return {
            **{name: os.environ[name] for name in OF_MACHINE if name in os.environ},
            "PATH": os.pathsep.join([str(self.scripts), PATH_WITH_SCRIPTS]),
            "MELTANO_PROJECT_ROOT": str(PROJECT),
            "MELTANO_SYS_DIR_ROOT": str(self.directory / "system"),
            "XDG_STATE_HOME": str(self.directory / "state"),  # where Meltano keeps logs of its own
            "MELTANO_ENVIRONMENT": "sandbox",
            "MELTANO_PROJECT_READONLY": "true",
            "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false",
            "MELTANO_CLI_DISABLE_VERSION_CHECK": "true",
            "NO_COLOR": "1",
            **{f"TAP_{vendor.upper()}_REPORT_PATH": str(self.report(vendor)) for vendor in ("hustle", "hubstaff")},
            **self.variables,
        }

    def report(self, vendor: str) -> Path:
        """Where the tap of a vendor leaves the report of its run."""
        return self.directory / f"{vendor}-report.json"
