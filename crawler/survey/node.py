"""What a worker process knows of its own machine.

On a cluster each node has its own resolvers; a scan uses those of the node that it runs on.
`danesurvey worker` hands them to its processes through the environment, which is what a
process that Dask starts again gets too.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crawler.dns.client import Resolvers

VARIABLE = "DANESURVEY_NODE"


def environment(resolvers: Resolvers) -> dict[str, str]:
    """The environment variable that says which resolvers this node has."""
    plain = {
        "first": resolvers.first,
        "second": resolvers.second,
        "control": [str(path) for path in resolvers.control],
    }
    return {VARIABLE: json.dumps(plain)}


def of_this_node(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """A scan's options with the resolvers of this node, if it has its own."""
    told = os.environ.get(VARIABLE)
    if told is None or "resolver" not in options:
        return options
    plain = json.loads(told)
    resolvers = Resolvers(
        first=tuple((host, port) for host, port in plain["first"]),
        second=tuple((host, port) for host, port in plain["second"]),
        control=tuple(Path(path) for path in plain["control"]),
    )
    return {**options, "resolver": resolvers}
