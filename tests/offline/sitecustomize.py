"""Imported by every Python that the suite starts: refuses all but this machine.

A test or cell that would need the network fails here instead of passing by luck.
With PRETEND_ACCELERATOR it gives the process an accelerator too (tests/accelerator).
"""

import ipaddress
import os
import socket

connect, getaddrinfo = socket.socket.connect, socket.getaddrinfo
LOCAL = {"localhost", "", None, b"localhost", socket.gethostname()}


def is_local(host) -> bool:
    if host in LOCAL:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback or host == "0.0.0.0"
    except ValueError:
        return False


def refuse(host):
    raise OSError(f"the test suite has no network: {host!r} was asked for")


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

if os.environ.get("PRETEND_ACCELERATOR"):
    # tests/ is on PYTHONPATH too: who imports torch will find an accelerator.
    from accelerator import install

    install()
