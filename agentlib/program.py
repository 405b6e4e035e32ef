"""Executables, accounts and Python packages of this node; what an executable inherits.

Called by `daemon` and its servers (`standalone`, `uwsgi`), and by `credentials` and `keystone`,
which need packages.
"""
from __future__ import annotations

import os
import sys

from .errors import NotInstalledError
from .parameters import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pwd import struct_passwd

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where a program without a folder is looked for, and a daemon's own PATH."""


def find(name: str) -> str:
    """The path of an executable, by its name or path; empty if there is none on this node."""
    for folder in PATH.split(":") if "/" not in name else ("",):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""


def binary(name: str) -> str:
    """The path of what the parameter binary names; NotInstalledError if there is none here."""
    found = find(name)
    if not found:
        raise NotInstalledError(
            f"binary={shown(name)} is not an executable on this node; is it installed?")
    return found


def account(user: str) -> struct_passwd:
    """The account of the parameter user; NotInstalledError if there is none on this node."""
    import pwd

    try:
        return pwd.getpwnam(user)
    except (KeyError, ValueError):
        raise NotInstalledError(f"user={shown(user)} does not exist on this node") from None


def with_packages() -> None:
    """Let `import` find the packages of this Python, which runs without site (-S).

    site would cost every monitor more than its own work, since it runs the .pth files of all
    packages on the node, as root. Only the folders are taken; a .pth file is not read here, either.
    """
    import site

    home = os.path.dirname(os.path.dirname(sys.executable))
    folders = []
    inherits = True
    try:
        with open(os.path.join(home, "pyvenv.cfg"), encoding="utf-8") as file:
            settings = dict(line.partition("=")[::2] for line in file.read().lower().split("\n"))
    except OSError:
        pass  # Not a virtual environment.
    else:
        release = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        folders = [os.path.join(home, "lib", release, "site-packages")]
        inherits = settings.get("include-system-site-packages ", "").strip() == "true"
    if inherits:
        folders += site.getsitepackages()
    sys.path += [folder for folder in folders
                 if folder not in sys.path and os.path.isdir(folder)]


def close_at_exec() -> None:
    """Let the daemon inherit only its output.

    Not by Popen's close_fds: that closes before the exec, the lock included. An agent that is
    killed then leaves a child that holds nothing and has no tag yet: it could not be found.
    """
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2:
                os.set_inheritable(int(name), False)
        except OSError:
            pass  # The descriptor of the listing itself.


def default_signals() -> None:
    """Undo what was ignored or blocked when the agent was called: the daemon would inherit it.

    Under nohup, for example, it would not get HUP. SIGPIPE and SIGXFSZ are Python's own, and
    Popen restores them.
    """
    import signal

    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
