"""What an API key may do."""

from __future__ import annotations

from enum import StrEnum

from hhray.errors import AccessDenied


class Scope(StrEnum):
    """`submit` creates, cancels and deletes tasks; `read` queries and downloads; `admin` runs its own tenant: stops
    running tasks, reads usage, deletes all data."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


ALL_SCOPES = tuple(Scope)
CLIENT_SCOPES = (Scope.SUBMIT, Scope.READ)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def scope_of_method(method: str) -> Scope:
    """What an HTTP method needs where a route says nothing else."""
    return Scope.READ if method in _READING else Scope.SUBMIT


def check_scope(scopes: frozenset[Scope], needed: Scope) -> None:
    """Raises:
    AccessDenied: the key has not this scope.
    """
    if needed not in scopes:
        has = ", ".join(sorted(scopes)) or "none"
        raise AccessDenied(
            f"Access denied. Expected an API-key with the scope '{needed.value}', this one has: {has}. An "
            f"administrator makes one by 'hhray keys create --scope {needed.value}'."
        )
