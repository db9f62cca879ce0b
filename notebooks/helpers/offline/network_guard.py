"""Importing this module keeps a Python to its own machine: every other address is
refused, so that a cell that would need the network fails instead of passing by luck.

Used by the test suite and by `python -m helpers grade`. It lies in a folder of its own
because it is put on PYTHONPATH, and nothing else must come with it.
LEARN_TRANSFORMERS_NETWORK=1 leaves the network open.
"""

import ipaddress
import os
import socket

connect, getaddrinfo = socket.socket.connect, socket.getaddrinfo
LOCAL = {"localhost", "", None, b"localhost", socket.gethostname()}


def is_local(host) -> bool:
    """Return whether a host's name or address is this machine."""
    if host in LOCAL:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback or host == "0.0.0.0"
    except ValueError:
        return False


def refuse(host):
    """Raise OSError: somebody asked for another machine."""
    raise OSError(f"there is no network here: {host!r} was asked for")


def guarded_connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not is_local(address[0]):
        refuse(address[0])
    return connect(self, address)


def guarded_getaddrinfo(host, *args, **kwargs):
    if not is_local(host.decode() if isinstance(host, bytes) else host):
        refuse(host)
    return getaddrinfo(host, *args, **kwargs)


if not os.environ.get("LEARN_TRANSFORMERS_NETWORK"):
    socket.socket.connect = guarded_connect
    socket.getaddrinfo = guarded_getaddrinfo
