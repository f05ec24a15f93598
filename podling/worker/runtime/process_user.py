"""As whom a process runs."""

import asyncio
import grp
import os
import pwd

from podling.core.errors import RuntimeFailure
from podling.core.retry import ErrorCode
from podling.core.value import value


@value
class Identity:
    """Numbers to change to before the program starts; None leaves the worker's own."""

    home: str
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None


async def identity(user: str | None, *, allow_root: bool) -> Identity:
    """Return as whom to run for `name`, `uid`, `name:group` or `uid:gid`.

    Raises RuntimeFailure where that is not allowed, not possible, or nobody.
    """
    if user is None:
        return _own(allow_root)
    # User databases may lie behind a network.
    chosen = await asyncio.to_thread(_look_up, user)
    if 0 in (chosen.uid, chosen.gid) and not allow_root:
        raise _refusal("Processes of user or group root are not allowed on this worker.")
    if os.geteuid() == 0:
        return chosen
    if chosen.uid != os.geteuid():
        raise _refusal(f"The worker is not root, so it cannot run a process as {user}.")
    return Identity(home=chosen.home)


def _own(allow_root: bool) -> Identity:
    if os.geteuid() == 0 and not allow_root:
        raise _refusal(
            "The worker is root: name another user for the process, or start it with --allow-root-processes."
        )
    try:
        return Identity(home=pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return Identity(home="/")


def _look_up(user: str) -> Identity:
    name, _, group = user.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        if not name.isdecimal():
            raise _refusal(f"The node has no user {name}.") from None
        uid = int(name)
        gid = _group(group) if group else uid
        return Identity(home="/", uid=uid, gid=gid, groups=(gid,))
    gid = _group(group) if group else entry.pw_gid
    groups = (gid,) if group else tuple(os.getgrouplist(entry.pw_name, gid))
    return Identity(home=entry.pw_dir, uid=entry.pw_uid, gid=gid, groups=groups)


def _group(group: str) -> int:
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise _refusal(f"The node has no group {group}.") from None


def _refusal(sentence: str) -> RuntimeFailure:
    return RuntimeFailure(sentence, code=ErrorCode.CREATE)
