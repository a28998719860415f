"""Run a command that must not outlive whoever asked for it.

The guard's standard input is a pipe that its owner holds open and never writes to. When the owner goes
away, in whatever way (an exception, a signal, `kill -9`), the pipe closes and the guard stops the command
and everything that the command started in its process group. It is a script of its own, on the standard
library alone, so that it starts at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading


def guard(command: list[str], stop_signal: signal.Signals, patience: float, user: str | None) -> int:
    """Run a command until it ends, the owner goes away, or the guard itself is told to stop.

    Args:
        command: The program and its arguments.
        stop_signal: What asks this program to end in good order.
        patience: Seconds it has for that before it is killed.
        user: Account to run it as; only root can name another than its own.

    Returns:
        The command's exit code; 128 plus the signal's number where a signal ended it.
    """
    identity = {"user": user, "group": _group_of(user), "extra_groups": []} if user else {}
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **identity)  # type: ignore[call-overload]
    this_thread = threading.get_ident()

    def stop(*_: object) -> None:
        _signal_group(child.pid, stop_signal)
        signal.setitimer(signal.ITIMER_REAL, patience)

    def kill(*_: object) -> None:
        _signal_group(child.pid, signal.SIGKILL)

    def stop_without_owner() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        signal.pthread_kill(this_thread, signal.SIGTERM)

    signal.signal(signal.SIGALRM, kill)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    threading.Thread(target=stop_without_owner, daemon=True).start()
    code: int = child.wait()
    kill()  # what the command started and left behind in its group has nobody to answer to any more
    return code if code >= 0 else 128 - code


def _group_of(user: str) -> int:
    import pwd  # noqa: PLC0415  # only there where there are such accounts

    return pwd.getpwnam(user).pw_gid


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def main() -> None:
    """Read the command line, guard, and end at once with the command's exit code."""
    parser = argparse.ArgumentParser(description="Run a command that ends when standard input does.")
    parser.add_argument("--signal", default="SIGTERM", help="what asks the command to end")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds until it is killed")
    parser.add_argument("--user", help="account to run it as")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    code = guard(options.command, signal.Signals[options.signal], options.patience, options.user)
    # The alarm may still be set, and the owner may still be there: nothing is left to wait for.
    os._exit(code)


if __name__ == "__main__":
    main()
