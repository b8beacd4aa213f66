"""``servo pools``: how many attempts may use something at once."""

from __future__ import annotations

import click

from servo import errors
from servo.cli import _output
from servo.cli._session import Session, pass_session
from servo.types.pools import ListPoolsResponse


@click.group()
def pools() -> None:
    """List and change pools, which bound how many attempts use something at once.

    An asset names the pools that it needs: @asset(pools={"warehouse": 1}). However many runs and
    workers there are, attempts together hold no more slots of a pool than it has. A pool that
    was never set, or is removed, bounds nothing.
    """


@pools.command("list")
@_output.json_option
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List the pools: their slots, how many are taken, how many tasks wait for one."""
    with session.connect() as connection:
        found = tuple(connection.client.pools.list())
    if as_json:
        _output.print_json(ListPoolsResponse(pools=found))
    elif not found:
        _output.echo("There are no pools. Make one: servo pools set NAME SLOTS")
    else:
        _output.table(
            ("pool", ">slots", ">used", ">waiting"),
            (
                (pool.name, str(pool.slots), str(pool.used), str(pool.waiting or ""))
                for pool in found
            ),
        )


@pools.command("set")
@click.argument("name")
@click.argument("slots", type=click.IntRange(min=0))
@_output.json_option
@pass_session
def set_(session: Session, name: str, slots: int, as_json: bool) -> None:
    """Give the pool NAME a number of SLOTS; it is made when it does not exist.

    What is being executed goes on, also when it holds more slots than are left. With 0 slots
    nothing starts that needs the pool.
    """
    with session.connect() as connection:
        try:
            pool = connection.client.pools.set(name, slots)
        except ValueError as exc:
            raise errors.InvalidArgumentError(str(exc)) from exc
    if as_json:
        _output.print_json(pool)
        return
    taken = f", {pool.used} of them taken" if pool.used else ""
    _output.echo(f"Pool {pool.name} has {_output.count(pool.slots, 'slot')}{taken}.")


@pools.command()
@click.argument("name")
@_output.json_option
@pass_session
def remove(session: Session, name: str, as_json: bool) -> None:
    """Remove the pool NAME: what needs it is not bounded by it any more."""
    with session.connect() as connection:
        client = connection.client
        found = {pool.name: pool for pool in client.pools.list()}
        if name not in found:
            raise errors.NotFoundError(
                f"there is no pool {name!r}.{_output.did_you_mean(name, found)}",
                code="POOL_NOT_FOUND",
            )
        client.pools.remove(name)
    if as_json:
        _output.print_json(found[name])
    else:
        _output.echo(f"Pool {name} is removed.")
