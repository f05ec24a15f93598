"""The calls about the cluster as a whole."""

from podling.client.call import Call, JsonObject, get, json_object, path_of


def read() -> Call[JsonObject]:
    """Masters, leader, epoch, version and store."""
    return get(path_of("cluster"), json_object)


def metrics() -> Call[JsonObject]:
    """What the master that is asked counted in the last minute, and what it holds."""
    return get(path_of("metrics"), json_object)


def doctor(scope: str = "cluster") -> Call[JsonObject]:
    """What is wrong; with the scope `master`, about the master that is asked and its workers alone."""
    return get(path_of("doctor"), json_object, scope=scope)
