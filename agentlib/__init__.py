"""What the OCF resource agents for OpenStack share.

An agent declares what it manages with Agent, Daemon, Wsgi and ApiCheck, and hands it to run().
"""
from .agent import Agent
from .api import ApiCheck
from .daemon import Daemon
from .runtime import run
from .wsgi import Wsgi

__all__ = ["Agent", "ApiCheck", "Daemon", "Wsgi", "run"]
