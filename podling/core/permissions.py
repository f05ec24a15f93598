"""What an operator allows beyond the default, which is to deny."""

from podling.core.value import value


@value
class Policy:
    """`allowed_host_paths` are directories of the nodes that bind mounts may lie in."""

    allowed_host_paths: tuple[str, ...] = ()
    allow_host_network: bool = False

    def allows_host_path(self, path: str) -> bool:
        """Whether `path` is one of the allowed directories or lies below one."""
        return any(
            path == allowed or path.startswith(allowed.rstrip("/") + "/")
            for allowed in self.allowed_host_paths
        )
