"""The rules for the engine's further options of one container. See `podling.core.container_policy`."""

import re
from collections.abc import Mapping
from dataclasses import fields
from ipaddress import ip_address
from operator import attrgetter

from podling.core.errors import InvalidInput
from podling.core.fields import check_count, check_number, check_path, check_pattern, check_text
from podling.core.quantity import MAX_AMOUNT
from podling.core.spec import Capabilities, ContainerSpec, Device, Logging, Ulimit
from podling.core.value import camel_case

EVERY_CAPABILITY = "ALL"
HOST_GATEWAY = "host-gateway"
NO_NEW_PRIVILEGES = ("no-new-privileges", "no-new-privileges:true")
MIN_LOG_SIZE = 64 * 1024
MAX_LOG_SIZE = 2**30
MAX_LOG_FILES = 20

CAPABILITIES = frozenset(
    "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE"
    " DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE"
    " MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG"
    " SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE"
    " SYS_TIME SYS_TTY_CONFIG WAKE_ALARM".split()
)
ULIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
)

_OPTIONS = frozenset(
    "platform read_only_root privileged capabilities security_options devices ulimits shm_size hostname"
    " extra_hosts dns dns_search dns_options logging".split()
)
_DEFAULT = ContainerSpec()
_PLATFORM = re.compile(
    r"(?:linux|windows)/(?:386|amd64|arm|arm64|loong64|mips64le|ppc64le|riscv64|s390x)(?:/v[0-9])?", re.ASCII
)
_PERMISSIONS = re.compile(r"(?!.*(.).*\1)[rwm]{1,3}", re.ASCII)
_SECURITY_OPTION = re.compile(
    r"no-new-privileges(?::true)?|seccomp=unconfined|(?:apparmor|label)[=:][A-Za-z0-9_.:,/-]{1,200}", re.ASCII
)
_HOST_PART = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOSTNAME = re.compile(_HOST_PART, re.ASCII)
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_HOST_PART}(?:\.{_HOST_PART})*", re.ASCII)
_SEARCH = re.compile(rf"\.|(?=.{{1,253}}\Z){_HOST_PART}(?:\.{_HOST_PART})*\.?", re.ASCII)
_DNS_OPTION = re.compile(r"[a-z][a-z0-9-]{0,40}(?::[0-9]{1,4})?", re.ASCII)


def options_given(container: ContainerSpec) -> Mapping[str, bool]:
    """Return the outside names of all options, and whether the container has anything there."""
    return {
        camel_case(field.name): getattr(container, field.name) != getattr(_DEFAULT, field.name)
        for field in fields(ContainerSpec)
        if field.name in _OPTIONS
    }


def check_options(container: ContainerSpec, prefix: str) -> None:
    """Check the form of all options; what of them is allowed is the policy's to say."""
    if _asks_for_none(container):  # as nearly all of them
        return
    if container.platform is not None:
        problem = f"{container.platform[:40]!r} is not of the form linux/amd64 or linux/arm64/v8"
        check_pattern(f"{prefix}platform", container.platform, _PLATFORM, problem)
    _check_capabilities(container.capabilities, f"{prefix}capabilities")
    _check_security(container.security_options, f"{prefix}securityOptions")
    _check_devices(container.devices, f"{prefix}devices")
    _check_ulimits(container.ulimits, f"{prefix}ulimits")
    if container.shm_size is not None:
        check_number(f"{prefix}shmSize", container.shm_size, 4096, MAX_AMOUNT, unit=" bytes")
    _check_names(container, prefix)
    if container.logging is not None:
        _check_logging(container.logging, f"{prefix}logging")


_options_of = attrgetter(*sorted(_OPTIONS))
_NO_OPTIONS = _options_of(_DEFAULT)


def _asks_for_none(container: ContainerSpec) -> bool:
    return bool(_options_of(container) == _NO_OPTIONS)


def plain_capability(name: str) -> str:
    """Return the name without the `CAP_` that some write."""
    return name.removeprefix("CAP_")


def _check_capabilities(capabilities: Capabilities, field: str) -> None:
    for part, names in (("add", capabilities.add), ("drop", capabilities.drop)):
        check_count(f"{field}.{part}", names, 100)
        for index, name in enumerate(names):
            if plain_capability(name) not in CAPABILITIES and name != EVERY_CAPABILITY:
                problem = f"{name[:40]!r} is no capability of Linux, such as NET_ADMIN, and not ALL"
                raise InvalidInput.field(f"{field}.{part}.{index}", problem)


def _check_security(options: tuple[str, ...], field: str) -> None:
    check_count(field, options, 20)
    for index, option in enumerate(options):
        problem = f"{option[:40]!r} is none of no-new-privileges, seccomp=unconfined, apparmor=…, label=…"
        check_pattern(f"{field}.{index}", option, _SECURITY_OPTION, problem)


def _check_devices(devices: tuple[Device, ...], field: str) -> None:
    check_count(field, devices, 100)
    taken: set[str] = set()
    for index, device in enumerate(devices):
        place, target = f"{field}.{index}", device.container_path or device.host_path
        check_path(f"{place}.hostPath", device.host_path)
        if device.container_path is not None:
            check_path(f"{place}.containerPath", device.container_path)
        problem = "must be of r, w and m, each once"
        check_pattern(f"{place}.permissions", device.permissions, _PERMISSIONS, problem)
        if target in taken:
            raise InvalidInput.field(f"{place}.containerPath", f"{target} is there twice")
        taken.add(target)


def _check_ulimits(ulimits: Mapping[str, Ulimit], field: str) -> None:
    for name, limit in ulimits.items():
        if name not in ULIMITS:
            problem = f"{name[:40]!r} is not one of {', '.join(sorted(ULIMITS))}"
            raise InvalidInput.field(field, problem)
        hard = limit.soft if limit.hard is None else limit.hard
        check_number(f"{field}.{name}.soft", limit.soft, -1, MAX_AMOUNT)
        check_number(f"{field}.{name}.hard", hard, -1, MAX_AMOUNT)
        if hard != -1 and not 0 <= limit.soft <= hard:
            raise InvalidInput.field(f"{field}.{name}.soft", "must not be above hard (-1 is no limit)")


def _check_names(container: ContainerSpec, prefix: str) -> None:
    if container.hostname is not None:
        problem = "must be 1 to 63 letters, digits and '-', without dots"
        check_pattern(f"{prefix}hostname", container.hostname, _HOSTNAME, problem)
    _check_extra_hosts(container.extra_hosts, f"{prefix}extraHosts")
    check_count(f"{prefix}dns", container.dns, 10)
    for index, server in enumerate(container.dns):
        _check_address(f"{prefix}dns.{index}", server, "")
    check_count(f"{prefix}dnsSearch", container.dns_search, 32)
    for index, domain in enumerate(container.dns_search):
        check_pattern(f"{prefix}dnsSearch.{index}", domain, _SEARCH, "must be the name of a domain")
    check_count(f"{prefix}dnsOptions", container.dns_options, 20)
    for index, option in enumerate(container.dns_options):
        problem = "must be an option of resolv.conf, such as ndots:2"
        check_pattern(f"{prefix}dnsOptions.{index}", option, _DNS_OPTION, problem)


def _check_extra_hosts(hosts: Mapping[str, str], field: str) -> None:
    check_count(field, hosts, 100)
    for name, address in hosts.items():
        check_text(field, name, 253)
        check_pattern(field, name, _HOST, f"{name[:80]!r} is no name of a host")
        if address != HOST_GATEWAY:
            _check_address(f"{field}.{name}", address, f" or {HOST_GATEWAY}")


def _check_address(field: str, address: str, otherwise: str) -> None:
    try:
        ip_address(address)
    except ValueError:
        raise InvalidInput.field(field, f"must be an IP address{otherwise}") from None


def _check_logging(logging: Logging, field: str) -> None:
    check_number(f"{field}.maxSize", logging.max_size, MIN_LOG_SIZE, MAX_LOG_SIZE, unit=" bytes")
    # With one file alone the engine would drop all of it each time that it is full.
    check_number(f"{field}.maxFiles", logging.max_files, 2, MAX_LOG_FILES)
