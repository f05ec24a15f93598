"""Nodes as people know them: the host's name, and the beginning of the id that tells two apart."""

from collections.abc import Mapping

from podling.cli.invocation import Invocation
from podling.cli.text import short_ids
from podling.client import nodes

_WHOLE = 36  # characters of an id as a worker makes it; one that somebody chose is a name already


def hosts(cli: Invocation) -> Mapping[str, str]:
    """Return `host (id)` by the ids of the nodes that the master lists."""
    listed = cli.client.list_all(nodes.listing)
    short = short_ids([node["nodeId"] for node in listed])
    return {
        node["nodeId"]: f"{node['hostname']} ({short[node['nodeId']]})"
        for node in listed
        if node.get("hostname")
    }


def with_hosts(text: str, names: Mapping[str, str]) -> str:
    """Return the text with each whole id of a node replaced by its host, which may stand there already."""
    for node_id, name in names.items():
        if len(node_id) >= _WHOLE:
            host = name.rpartition(" (")[0]
            text = text.replace(f"{host} ({node_id})", name).replace(node_id, name)
    return text
