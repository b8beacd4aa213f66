"""Giving a PostgreSQL database that was restored a history of its own."""

from __future__ import annotations

from servo.controlplane.store.maintenance import alone
from servo.types.ids import DeploymentId


def renew(url: str) -> None:
    """Give a database another id, so that what workers began under the former history is dropped.

    The restored history gives out fencing tokens that the former one gave out as well.

    Raises:
        servo.errors.ConfigurationError: A control plane is at work on it, or its schema is not
            the one of this version of Servo.
        servo.errors.UnavailableError: The server does not answer.
    """
    with alone(url) as database, database.transaction():
        database.sql.renew_store_id(database.db, value=str(DeploymentId.generate()))
