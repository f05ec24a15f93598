"""The calls of a machine that becomes a node, and keeps being one."""

from dataclasses import replace

from podling.client.call import Call, JsonObject, json_object, path_of, post


def join(node_id: str, secret_hash: str) -> Call[JsonObject]:
    """Become a node; doing so again with the same hash changes nothing. Sent with a join token."""
    call = post(path_of("join"), json_object, {"nodeId": node_id, "secretHash": secret_hash})
    return replace(call, request=replace(call.request, repeatable=True))


def renew(node_id: str, secret_hash: str) -> Call[JsonObject]:
    """Have another secret accepted beside the one that is sent."""
    call = post(path_of("nodes", node_id, "credential"), json_object, {"secretHash": secret_hash})
    return replace(call, request=replace(call.request, repeatable=True))
