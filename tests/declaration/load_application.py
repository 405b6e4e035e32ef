"""Loads a WSGI application as uWSGI does, from a script or a module.

Run by test_newest.py with the Python of the virtual environment that has the release:
`python load_application.py --wsgi-file=PATH|--module=NAME [ARGUMENT ...]`; the arguments are those
that uWSGI would pass to the application.
"""

from __future__ import annotations

import importlib
import runpy
import sys


def main(option: str, *arguments: str) -> None:
    """Load the application; an error ends Python with a traceback."""
    sys.argv[:] = ["uwsgi", *arguments]
    kind, _, where = option.partition("=")
    if kind == "--wsgi-file":
        assert callable(runpy.run_path(where, run_name="uwsgi_file")["application"])
    else:
        module, _, name = where.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


if __name__ == "__main__":
    main(*sys.argv[1:])
