"""Who may read and write what in etcd: users by the CN of their certificates, a role for each prefix.

For an administrator alone; members never call it. Users have no password, so a certificate is the only way in. All of
this is gone when etcd loses its data, and etcd then asks nobody: it is set up anew before anything else is written.
"""

from typing import Any, Final

from pyetcd import etcdrpc

from deepseek_runtime.membership.connection import Connection, prefix_end

ROOT: Final = "root"
"""Both the user whom etcd lets do everything and its role; etcd asks who one is only if there is one."""
_NO_PASSWORD: Final = b"\x1a\x02\x08\x01"
"""AuthUserAddRequest.options.no_password, a field that the stubs are too old to know (etcd 3.4 does). Without it an
empty password would be one that lets in whoever has any certificate."""


class AccessControl:
    """All methods raise Unavailable, and can be repeated: what is there already is left as it is."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def users(self) -> set[str]:
        return set(self._ask("UserList", etcdrpc.AuthUserListRequest()).users)

    def roles(self) -> set[str]:
        return set(self._ask("RoleList", etcdrpc.AuthRoleListRequest()).roles)

    def admit(self, user: str, role: str, prefix: str) -> None:
        """`user` may read and write what begins with `prefix`, by `role`, and nothing by that role besides."""
        if role not in self.roles():
            self._ask("RoleAdd", etcdrpc.AuthRoleAddRequest(name=role))
        start = prefix.encode()
        whole = etcdrpc.Permission(permType="READWRITE", key=start, range_end=prefix_end(start))
        held = list(self._ask("RoleGet", etcdrpc.AuthRoleGetRequest(role=role)).perm)
        if whole not in held:
            self._ask("RoleGrantPermission", etcdrpc.AuthRoleGrantPermissionRequest(name=role, perm=whole))
        for other in held:
            if other != whole:
                revoked = etcdrpc.AuthRoleRevokePermissionRequest(role=role, key=other.key, range_end=other.range_end)
                self._ask("RoleRevokePermission", revoked)
        self._let_in(user, role)

    def require(self) -> None:
        """From now on etcd asks everybody who they are. The caller must be ROOT by its certificate."""
        if ROOT not in self.roles():
            self._ask("RoleAdd", etcdrpc.AuthRoleAddRequest(name=ROOT))
        self._let_in(ROOT, ROOT)
        self._ask("AuthEnable", etcdrpc.AuthEnableRequest())

    def remove(self, user: str, role: str) -> None:
        """The role last: by it one that was left half-way is found again."""
        if user in self.users():
            self._ask("UserDelete", etcdrpc.AuthUserDeleteRequest(name=user))
        if role in self.roles():
            self._ask("RoleDelete", etcdrpc.AuthRoleDeleteRequest(role=role))

    def _let_in(self, user: str, role: str) -> None:
        if user not in self.users():
            request = etcdrpc.AuthUserAddRequest(name=user)
            request.MergeFromString(_NO_PASSWORD)
            self._ask("UserAdd", request)
        held = self._ask("UserGet", etcdrpc.AuthUserGetRequest(name=user)).roles
        if role not in held:
            self._ask("UserGrantRole", etcdrpc.AuthUserGrantRoleRequest(user=user, role=role))

    def _ask(self, method: str, request: Any) -> Any:
        return self._connection.ask(lambda channel: getattr(channel.auth, method), request)
