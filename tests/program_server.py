"""Runs console scripts, each run in a process of its own, but pays for the imports only once.

Its arguments are a listening socket, and a file that it may keep. It serves the stubs of `tests/programs.py` until its
standard input ends.
"""

from __future__ import annotations

import gc
import importlib
import marshal
import os
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.programs import OURS, look_up_versions_once
from tests.tap_server import exit_code_of

if TYPE_CHECKING:
    from collections.abc import Callable

MELTANO_YML = Path(__file__).parents[1] / "meltano.yml"
LENGTH_BYTES = 4


class Server:
    """Forks a run for each stub that calls.

    Args:
        listener: Where they call.
        imported: A file in which each run leaves the names of the modules that it had to import.
    """

    def __init__(self, listener: socket.socket, imported: Path) -> None:
        self._programs: dict[str, Callable[[], Any]] = {}
        self._imported = imported
        self._listener = listener

    def serve(self) -> None:
        """Take calls until the standard input ends."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody but its stub waits for a run
        while sys.stdin not in select.select([sys.stdin, self._listener], [], [])[0]:
            stub, _ = self._listener.accept()
            length, streams, *_ = socket.recv_fds(stub, LENGTH_BYTES, 3)
            with stub.makefile("rb") as sent:
                argv, folder, environment = marshal.loads(sent.read(int.from_bytes(length, "big")))  # noqa: S302
            program = self._program(Path(argv[0]).name)
            if os.fork() == 0:
                self._listener.close()
                become(argv, folder, environment, streams)
                self._run(program, stub)
            stub.close()
            for stream in streams:
                os.close(stream)

    def _program(self, name: str) -> Callable[[], Any]:
        """Find a program, with all imported that runs have needed so far."""
        if self._imported.exists():
            for module in self._imported.read_text().split():
                with suppress(Exception):
                    importlib.import_module(module)
            self._imported.unlink()
        if name not in self._programs:
            (script,) = entry_points(group="console_scripts", name=name) or [EntryPoint(name, OURS[name], "")]
            self._programs[name] = script.load()
            if name == "meltano":
                importlib.import_module("meltano.core.yaml").load(MELTANO_YML)
                importlib.import_module("tests.quick_meltano").remember_settings()
        assert threading.active_count() == 1, "a thread would be missing in the child processes"
        # What is here by now stays: no child has to look through it, which would copy it too.
        gc.collect()
        gc.freeze()
        return self._programs[name]

    def _run(self, program: Callable[[], Any], stub: socket.socket) -> None:
        """Run a program in a process of its own, and end with it."""
        before = {*sys.modules}
        stub.sendall(os.getpid().to_bytes(LENGTH_BYTES, "big"))
        threading.Thread(target=end_with, args=[stub], daemon=True).start()
        code = exit_code_of(lambda: sys.exit(program()))
        with self._imported.open("a") as imported:
            imported.write("".join(f"{module}\n" for module in sys.modules if module not in before))
        stub.sendall(bytes([code]))
        os._exit(code)


def become(argv: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> None:
    """Make of this process what a shell would have started."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = argv


def end_with(stub: socket.socket) -> None:
    """End this process, and all that it has started, as soon as its stub is gone."""
    stub.recv(1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    with look_up_versions_once():
        Server(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])).serve()
    os._exit(0)  # at once, without taking apart what was imported
