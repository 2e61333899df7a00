"""``--role``: what a daemon is."""

import typer

ROLES = ("performer", "attester", "both")


def checked(role: str) -> str:
    """
    Return a role as it was given.

    Raises:
        BadParameter: there is no such role.
    """
    if role not in ROLES:
        raise typer.BadParameter(f"{role} is not a role; it is performer, attester or both", param_hint="--role")
    return role
