"""Each agent with its library in one file, for a node that has nothing but wget.

Run by `make single`:

    python3 release/single.py FOLDER AGENT...   # FOLDER/AGENT, ..., and FOLDER/SHA256SUMS

A file is a loader, the library, and the agent's own declaration. Of the library it has the sources,
and their bytecode for the Python that made the file: another Python compiles what it needs, at each
run. It is no zip archive, which Python opens again for each module: the file may have been replaced
meanwhile. This file is read as a whole before its first line is run.

Same sources and same Python: same bytes. Needs nothing but Python.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import marshal
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from release.sources import NAME, ROOT, ReleaseError, version, write

FORMAT = 4
"""marshal's format, which Python 3.9 and all later ones can read."""

FILE = '''\
#!/usr/bin/python3 -ESs
"""{summary}

One file, made from {name} {version}: first its library, then the agent. To upgrade, download the
new one under another name, and rename it: an agent may be run at any moment.
"""
import marshal
import sys
import zlib
from binascii import a2b_base64

from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER


class Library:
    """Finds the modules of agentlib in this file, and nothing else (importlib's protocol)."""

    def __init__(self, made_for, compiled, sources):
        self.is_compiled = made_for == MAGIC_NUMBER
        packed = compiled if self.is_compiled else sources
        self.modules = marshal.loads(zlib.decompress(a2b_base64(packed)))

    def find_spec(self, name, path=None, target=None):
        if name in self.modules:
            return ModuleSpec(name, self, is_package=name == "agentlib")
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        code = self.modules[module.__name__]
        if self.is_compiled:
            code = marshal.loads(code)
        else:
            code = compile(code, module.__name__ + ".py", "exec", dont_inherit=True)
        exec(code, module.__dict__)


sys.meta_path.insert(0, Library(
    {magic!r},
    "{compiled}",
    "{sources}",
))

{agent}'''


def library() -> tuple[str, str]:
    """The library's modules, packed as a file has them: bytecode and sources."""
    sources, compiled = {}, {}
    for path in sorted((ROOT / "agentlib").glob("*.py")):
        name = "agentlib" if path.stem == "__init__" else f"agentlib.{path.stem}"
        sources[name] = text = path.read_text(encoding="utf-8")
        code = compile(text, f"{name}.py", "exec", dont_inherit=True, optimize=0)
        compiled[name] = marshal.dumps(code)
    return _packed(compiled), _packed(sources)


def single(agent: str, made_from: str, compiled: str, sources: str) -> str:
    """The text of one file: from the agent's own text, and the library's."""
    shebang, docstring, rest = agent.split("\n", 2)
    if not (shebang.startswith("#!") and docstring.startswith('"""') and docstring.endswith('"""')):
        raise ReleaseError(f"an agent does not begin with #! and a line of docstring: {docstring}")
    return FILE.format(
        summary=docstring.strip('"'), name=NAME, version=made_from,
        magic=importlib.util.MAGIC_NUMBER, compiled=compiled, sources=sources, agent=rest,
    )  # fmt: skip


def _packed(values: dict[str, str] | dict[str, bytes]) -> str:
    packed = zlib.compress(marshal.dumps(values, FORMAT), 9)
    return base64.b64encode(packed).decode("ascii")


def main(arguments: Sequence[str]) -> int:
    """Write these agents, and their checksums; an exit code."""
    if len(arguments) < 2:
        print("usage: single.py FOLDER AGENT...", file=sys.stderr)
        return 64
    try:
        folder, sums, made_from, packed = Path(arguments[0]), [], version(), library()
        for agent in arguments[1:]:
            text = (ROOT / "ocf" / agent).read_text(encoding="utf-8")
            content = single(text, made_from, *packed).encode()
            write(folder / agent, content, 0o755)
            sums.append(f"{hashlib.sha256(content).hexdigest()}  {agent}\n")
        write(folder / "SHA256SUMS", "".join(sums).encode(), 0o644)
    except (ReleaseError, OSError, ValueError) as error:
        print(f"make single: {error}", file=sys.stderr)
        return 1
    print(f"{len(sums)} agents and SHA256SUMS in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
