# SPDX-License-Identifier: Apache-2.0
"""A small network on this machine: a client, a penstock node and origins, each in a network namespace of its own.

The demo, the network tests and the harness share it. `Lab` is the network; what runs in it are `Process`es, among them
`Nginx`, `Dnsmasq`, `TlsServer` and `Penstock`; `Authority` makes certificates. Everything ends with the `Lab`, also when
this program is killed.
"""
from .authority import Authority, Certificate
from .foreign import ForeignSockmap
from .lab import TEMPORARY, Lab
from .namespace import Namespace
from .penstock import Penstock
from .process import PATIENCE_S, LabError, Process, is_alive, own_memory_kib, wait_until
from .servers import Dnsmasq, Nginx, TlsServer

__all__ = ["PATIENCE_S", "TEMPORARY", "Authority", "Certificate", "Dnsmasq", "ForeignSockmap", "Lab", "LabError", "Namespace", "Nginx",
           "Penstock", "Process", "TlsServer", "is_alive", "own_memory_kib", "wait_until"]
