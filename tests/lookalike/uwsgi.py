"""The look-alike application under uWSGI under an agent: Service, with server=uwsgi.

with UwsgiService(agent, folder, ini={"exit-on-reload": "true"}) as service:
    expect(service.start(), 0)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import defaults
from looks import environ_of, every_pid

from .config import DAEMON, DaemonConfig
from .service import Service

APP = Path(__file__).with_name("app.py")

PROGRAM = "/usr/bin/uwsgi_python3"
PACKAGE = "uwsgi-plugin-python3"

# Service's own; all other options are behaviour
OPTIONS = ("credentials", "interpreter", "name", "password", "prefix")

# names of the script and of the module, and the options that name the address; without such
# options it is the parameter bind
APPLICATIONS = {
    "glance-api": ("glance-wsgi-api", "glance.wsgi.api", "bind_host", "bind_port"),
    "cinder-api": (
        "cinder-wsgi", "cinder.wsgi.api", "osapi_volume_listen", "osapi_volume_listen_port",
    ),
    "placement-api": ("placement-api", "placement.wsgi.api", "", ""),
    "keystone": ("keystone-wsgi-public", "keystone.wsgi.api", "", ""),
}  # fmt: skip


class UwsgiConfig(DaemonConfig):
    """Finds the processes of a uWSGI also by their open files: a process that sets its title loses
    its arguments."""

    def __init__(self, folder: Path, agent: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.path.unlink()
        self.path = folder / Path(defaults(agent)["config"]).name
        _, _, host, port = APPLICATIONS[agent.name]
        self.default = {host: self.host, port: self.port} if host else {}
        self.set()
        self._folder = os.fsencode(folder.parent) + b"/"

    def pids(self) -> list[int]:
        return [pid for pid in every_pid() if self._is(pid)]

    def _is(self, pid: int) -> bool:
        place = f"/proc/{pid}"
        try:
            if not os.path.basename(os.readlink(f"{place}/exe")).startswith("uwsgi"):
                return False
            if self._folder in Path(place, "cmdline").read_bytes() or any(
                self._folder in field for field in environ_of(pid)
            ):
                return True
            files = os.listdir(f"{place}/fd")
            return any(self._folder in os.fsencode(_target(f"{place}/fd/{f}")) for f in files)
        except OSError:
            return False  # gone meanwhile, or a zombie


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


class UwsgiService(Service):
    """A resource whose application is a look-alike in a virtual environment.

    ini: settings of the file uwsgi_ini; None: there is none. A name with a plus is a second line
        of that setting.
    module: whether the application is a module, as in newer releases, and not a script.
    """

    def __init__(
        self,
        agent: Path,
        folder: Path,
        *,
        ini: Mapping[str, object] | None = None,
        module: bool = False,
        **options: Any,
    ) -> None:
        behaviour = {name: options.pop(name) for name in list(options) if name not in OPTIONS}
        super().__init__(agent, folder, **options)
        style = {"style": "cinder" if agent.name == "cinder-api" else "glance"}
        report = self.config.behaviour
        port = self.config.port
        self.config = UwsgiConfig(folder / "etc", agent, port=port)
        self.config.set(**{**report, **style, **behaviour})
        script, name, _, _ = APPLICATIONS[agent.name]
        # the parts that a virtual environment needs; it has no packages
        self.venv = folder / "venv"
        self.venv.joinpath("bin").mkdir(parents=True)
        self.venv.joinpath("pyvenv.cfg").write_text("home = /usr/bin\n", encoding="ascii")
        self.venv.joinpath("bin/python3").symlink_to("/usr/bin/python3")
        self.app = self.venv / "bin" / script
        further = f"--virtualenv={self.venv}"
        if module:
            self.app = self.venv / "modules" / f"{name.replace('.', '/')}.py"
            self.app.parent.mkdir(parents=True)
            for package in (self.app.parent, self.app.parent.parent):
                package.joinpath("__init__.py").touch()
            further += f" --pythonpath={self.venv}/modules"
        shutil.copyfile(APP, self.app)
        shutil.copyfile(DAEMON, self.app.with_name("daemon"))
        self.app.chmod(0o755)
        self.ini = folder / "etc" / "uwsgi.ini"
        del self.parameters["binary"]  # the system's is found; this one can be named
        self.binary.unlink()
        self.binary = self.binary.with_name("uwsgi_python3")
        self.binary.symlink_to(PROGRAM)
        self.parameters.update(
            server="uwsgi", config=self.config.path, processes=2, threads=4,
            additional_parameters=further,
        )  # fmt: skip
        if not self.config.default:
            self.parameters["bind"] = f"{self.config.host}:{port}"
        if ini is not None:
            self.write_ini(ini)

    def write_ini(self, settings: Mapping[str, object]) -> None:
        """Write the ini file, and set uwsgi_ini."""
        lines = [f"{name.lstrip('+')} = {value}" for name, value in settings.items()]
        self.ini.write_text("\n".join(["[uwsgi]", *lines, ""]), encoding="utf-8")
        self.parameters["uwsgi_ini"] = self.ini


