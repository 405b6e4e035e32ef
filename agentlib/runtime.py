"""One invocation, one exit code: the boundary between an agent and Pacemaker.

The executables in ocf/ call `run` and nothing else. This is the only place that knows sys.argv,
os.environ and the end of the process; an error raised anywhere becomes an exit code and an exit
reason here.
"""
from __future__ import annotations

import _thread
import os
import sys
import time

from .deadline import Deadline
from .environment import API_MAJOR, Environment
from .errors import AgentError, PermissionDeniedError, UnimplementedError
from .exitcode import ExitCode
from .log import Log, to_stderr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from .agent import Agent
    from .call import Call

GRACE = 0.4
"""Seconds after its deadline in which an action may still report its result."""

NO_MEMORY = "out of memory"

LEAVING = 0.3
"""Seconds in which a monitor that hangs may leave its verdict: a busy machine needs some."""


def run(agent: Agent) -> NoReturn:
    """Do what argv says, and end with its exit code."""
    _open_standard_descriptors()
    code = _invoke(agent, sys.argv[1:], _taken_environment())
    # Not sys.exit: a thread that was left behind in a resolver (deadline.within) would be
    # waited for, or disturb the interpreter's end.
    os._exit(code)


def _taken_environment() -> dict[str, str]:
    """What the environment says; nothing of it is left there.

    What libraries look for (proxies, CA files, OpenSSL's modules, SSLKEYLOGFILE) has no say in
    what is monitored, and no password is left for them to find.
    """
    environ = dict(os.environ)
    for name in environ:
        try:
            del os.environ[name]
        except OSError:
            pass  # An empty name, say.
    return environ


def _invoke(agent: Agent, arguments: list[str], environ: Mapping[str, str]) -> ExitCode:
    # What follows the action is left for extensions of the standard to come (OCF 1.1,
    # "Execution Syntax").
    action = arguments[0] if arguments else ""
    if action == "meta-data":
        return _print(agent.metadata())
    if action in ("usage", "help", "--help", "-h"):
        return _print(agent.usage())
    environment = Environment(action, agent.name, environ)
    log = Log(agent.name, environment)
    try:
        return _act(agent, environment, log, action)
    except UnimplementedError as error:
        # Pacemaker and ocf-tester ask for actions just to see; that is no failure to be logged.
        to_stderr(f"ocf-exit-reason:{error}")
        return error.exit_code
    except MemoryError:
        pass
    except BaseException as error:  # noqa: BLE001 - no traceback reaches an operator
        code, reason = _verdict(error, action)
        log.reason(reason)
        return code
    # Only here the memory that the frames of the action held is free again.
    try:
        log.reason(NO_MEMORY)
    except MemoryError:
        os.write(2, b"ocf-exit-reason:out of memory\n")
    return ExitCode.ERR_GENERIC


def _verdict(error: BaseException, action: str) -> tuple[ExitCode, str]:
    """Exit code and reason of an action that was ended by an error."""
    if isinstance(error, AgentError):
        return error.exit_code, str(error)
    if isinstance(error, MemoryError):
        return ExitCode.ERR_GENERIC, NO_MEMORY
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.ERR_GENERIC, f"{action} was interrupted"
    return ExitCode.ERR_GENERIC, f"{action} failed by a bug: {_place(error)}"


def _act(agent: Agent, environment: Environment, log: Log, action: str) -> ExitCode:
    from .process import age

    if action not in agent.actions:
        raise UnimplementedError(
            f"{agent.name} has no action {action[:30]!r}" if action else
            f"{agent.name} wants an action: {', '.join(agent.actions)}, meta-data or usage")
    if environment.api_major != API_MAJOR and action != "stop":
        return _foreign_api(agent, environment, log)
    if action != "validate-all" and os.geteuid() != 0:
        raise PermissionDeniedError(f"{action} must be run as root")
    call = agent.call(environment, log, age())
    try:
        _thread.start_new_thread(_watch, (action, call))
    except RuntimeError:
        pass  # Too little memory for it; what needs none goes on.
    try:
        outcome = agent.manages.act(call)
    except BaseException as error:
        _leave(call, *_verdict(error, action))
        raise
    _leave(call, outcome.code, outcome.reason)
    if outcome.reason:
        log.reason(outcome.reason)
    return outcome.code


def _leave(call: Call, code: ExitCode, reason: str) -> None:
    """Leave the verdict of a recurring monitor for `openstack-ocf`; of another action, nothing."""
    environment = call.environment
    if not _recurring(environment):
        return
    try:
        from .state import leave

        leave(environment.rsctmp, call.tag, call.level, code, reason,
              time.monotonic() - call.began)
    except MemoryError:
        pass


def _recurring(environment: Environment) -> bool:
    return environment.action == "monitor" and not environment.probe


def _foreign_api(agent: Agent, environment: Environment, log: Log) -> ExitCode:
    """Refuse a caller with another major version of the API (OCF 1.1, "API Version Numbers").

    3 is the code for it because of what Pacemaker makes of a probe (docs/ocf.md): 2 and 5 count
    as "not running", and the service would be started on another node beside the one that runs
    here. 3 has this one stopped, which stop does under any version, and another node tried; 6
    would rule out all of them, and 1 would try this one again.
    """
    from .parameters import shown

    log.reason(
        f"{agent.name} knows version {API_MAJOR} of the OCF API, the cluster speaks "
        f"{shown(environment.api_major[:9])}: install agents made for it")
    return ExitCode.ERR_UNIMPLEMENTED


def _watch(action: str, call: Call) -> None:
    """End the process shortly before Pacemaker would, whatever it hangs in.

    Actions keep to their deadline by themselves; a file system that hangs does not.
    """
    while call.deadline.remaining():
        time.sleep(call.deadline.remaining())
    time.sleep(GRACE)
    reason = f"{action} did not come to an end in time"
    if _recurring(call.environment):
        try:
            # It may be the file system of the state that hangs.
            Deadline(LEAVING).within(_leave, call, ExitCode.ERR_GENERIC, reason)
        except (TimeoutError, MemoryError):
            pass
    # Straight to Pacemaker: what it hangs in may be a log. It is the last that is done: until here
    # the action may still come to its own end, which counts then. Of two reasons Pacemaker would
    # take the later: one that has just been said is that of an action which is about to exit.
    if call.log.word.acquire(timeout=GRACE) and not call.log.said:
        to_stderr(f"ocf-exit-reason:{reason}")
    else:
        time.sleep(GRACE)
    os._exit(ExitCode.ERR_GENERIC)


def _print(text: str) -> ExitCode:
    rest = text.encode()
    try:
        while rest:
            rest = rest[os.write(1, rest):]
    except OSError:
        return ExitCode.ERR_GENERIC
    return ExitCode.SUCCESS


def _open_standard_descriptors() -> None:
    """Open what is closed of 0, 1 and 2: else the daemon's log might become one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            try:
                os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            except OSError:
                pass


def _place(error: BaseException) -> str:
    """Type and place of an error: enough to find it, and no value that might be secret."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    where = ""
    if frame:
        code = frame.tb_frame.f_code
        where = f" in {os.path.basename(code.co_filename)}:{frame.tb_lineno} ({code.co_name})"
    return f"{type(error).__name__}{where}; please report it"
