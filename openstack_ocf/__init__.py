"""The operator's command: from one description to a cluster that runs it.

It stands beside agentlib and may import it; agentlib never imports it, so that an agent's action
costs what it costs without it.
"""
