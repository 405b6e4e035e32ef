"""A TCP port that no other test on this machine gets. For tests that start a daemon."""

from __future__ import annotations

import random
import socket

# below the kernel's range for outgoing connections, which would take one at any moment
FIRST, LAST = 20000, 32000

# a bound socket that does not listen keeps the port from every other free_port(), in this process
# and in others, as long as this process lives; a daemon that sets SO_REUSEADDR (all of them do)
# gets the port all the same, and until then a connection is refused
_reserved: list[socket.socket] = []

# a random source of its own: hypothesis begins each example with the same seed, and a process
# would try the same ports in each of a thousand examples
_dice = random.SystemRandom()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free on `host` and stays ours until this process ends."""
    for _ in range(1000):
        port = _dice.randint(FIRST, LAST)
        holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            # without SO_REUSEADDR the bind fails if any process has the port, reserved or in use;
            # set afterwards, it lets the daemon bind it
            holder.bind((host, port))
        except OSError:
            holder.close()
            continue
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _reserved.append(holder)
        return port
    raise OSError(f"no free port on {host} between {FIRST} and {LAST}")
