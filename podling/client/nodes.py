"""The calls about nodes."""

from dataclasses import replace

from podling.client.call import Call, JsonObject, get, json_array, json_object, path_of, post


def listing() -> Call[list[JsonObject]]:
    return get(path_of("nodes"), json_array)


def read(node_id: str) -> Call[JsonObject]:
    return get(path_of("nodes", node_id), json_object)


def cordon(node_id: str) -> Call[JsonObject]:
    """Give the node no new work; what runs there goes on."""
    return post(path_of("nodes", node_id, "cordon"), json_object)


def uncordon(node_id: str) -> Call[JsonObject]:
    return post(path_of("nodes", node_id, "uncordon"), json_object)


def remove(node_id: str) -> Call[JsonObject]:
    """Take the node off the list."""
    call = post(path_of("nodes", node_id), json_object)
    return replace(call, request=replace(call.request, method="DELETE"))
