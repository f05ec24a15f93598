"""A task that exists if, and only if, the order does: both are committed by one transaction.

Usage: DATABASE_URL=postgresql://… orders.py. The database is Podling's own; see docs/api.md, SQL.
"""

import asyncio
import os

import asyncpg

from podling import producer


class OutOfStock(Exception):
    """The program's own reason not to commit."""


async def order(connection: asyncpg.Connection, item: str, in_stock: bool) -> str:
    """Return the id of the task that sends the item."""
    async with connection.transaction():
        number = await connection.fetchval("INSERT INTO orders (item) VALUES ($1) RETURNING number", item)
        task = {"name": f"send-{number}", "image": "podling-busybox:local", "command": ["echo", item]}
        task_id = await producer.submit(connection, task)
        if not in_stock:
            raise OutOfStock(item)
    return task_id


async def main() -> None:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    try:
        await connection.execute(
            "CREATE TEMPORARY TABLE orders (number bigint GENERATED ALWAYS AS IDENTITY, item text NOT NULL)"
        )
        task_id = await order(connection, "a book", in_stock=True)
        try:
            await order(connection, "a boat", in_stock=False)
        except OutOfStock as reason:
            print(f"no order and no task for {reason}")
        found = await producer.status(connection, task_id)
        print(f"{found and found['name']} is {found and found['status']}")
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
