"""Who a process is once it has bound its addresses: a user and a group instead of root, for good."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass

__all__ = ["ITSELF", "Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A user with a group, a group alone, or with neither whoever it is already."""

    user: str | None = None
    uid: int | None = None
    gid: int | None = None

    @classmethod
    def of(cls, user: str | None, group: str | None) -> Identity:
        """The one of these names; of *user* alone with the user's own group.

        :raises ValueError: this host does not know one of them; the text says which.
        """
        uid: int | None = None
        gid: int | None = None
        if user is not None:
            try:
                entry = pwd.getpwnam(user)
            except KeyError:
                raise ValueError(f"this host has no user {user!r}: add it, or name another") from None
            uid, gid = entry.pw_uid, entry.pw_gid
        if group is not None:
            try:
                gid = grp.getgrnam(group).gr_gid
            except KeyError:
                raise ValueError(f"this host has no group {group!r}: add it, or name another") from None
        return cls(user, uid, gid)

    @property
    def is_other(self) -> bool:
        """Whether this process is to become somebody else than it is."""
        return self.uid not in (None, os.geteuid()) or self.gid not in (None, os.getegid())

    def own(self, file: int | str) -> None:
        """Give a file to it, an open one or that of a path, which is not followed if it is a link.

        :raises PermissionError: this process may not.
        """
        if self.is_other:
            uid, gid = -1 if self.uid is None else self.uid, -1 if self.gid is None else self.gid
            if isinstance(file, int):
                os.fchown(file, uid, gid)
            else:
                os.lchown(file, uid, gid)

    def become(self) -> None:
        """Be it, in all threads of this process: supplementary groups, group and user, real, effective and saved.

        :raises PermissionError: this process is not root.
        :raises RuntimeError: the system has let the old user in again: something is badly wrong.
        """
        if not self.is_other:
            return
        if self.gid is not None:
            # Groups first: who is no longer root may not change them.
            if self.user is None:
                os.setgroups([self.gid])
            else:
                os.initgroups(self.user, self.gid)
            os.setresgid(self.gid, self.gid, self.gid)
        if self.uid is None:
            return
        os.setresuid(self.uid, self.uid, self.uid)
        if self.uid == 0:
            return
        try:
            os.setuid(0)
        except PermissionError:
            return
        raise RuntimeError(f"user {self.user!r} can become root again: this process does not go on")


ITSELF = Identity()
"""Whoever this process is."""
