"""The calls about the cluster as a whole."""

from podling.client.call import Call, JsonObject, get, json_object, path_of


def read() -> Call[JsonObject]:
    """Masters, leader, epoch, version and store."""
    return get(path_of("cluster"), json_object)
