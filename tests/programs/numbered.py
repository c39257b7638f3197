"""The client of tests/apps/moving_app.py: `numbered.py URL COUNT RATE` opens so many WebSockets.

On each it sends RATE numbers a second until its standard input ends. Then it waits for the answers, closes,
and prints JSON: how many there were, and each deviation from one connection on which nothing is lost.
"""

import asyncio
import collections
import json
import resource
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

LIMIT = 60.0
"""Seconds for the last answers."""


class Tally:
    """The numbers of all WebSockets.

    Attributes:
        counts: messages sent, echoed and pushed.
        failures: deviations, with how often each was seen.
    """

    def __init__(self):
        self.counts = collections.Counter()
        self.failures = collections.Counter()


async def converse(url, pause, ended, tally, opened):
    """Send and receive on one WebSocket, and count."""
    async with connect(
        url, open_timeout=LIMIT, close_timeout=LIMIT, ping_interval=1, max_queue=None
    ) as client:
        opened()
        expected = {"echoed": 0, "pushed": 0}
        last = dict(expected)
        sending = asyncio.create_task(send(client, pause, ended, tally))
        try:
            async for message in client:
                kind, *numbers = message.split()
                expected[kind] += 1
                tally.counts[kind] += 1
                last[kind] = int(numbers[-1])
                if any(int(number) != expected[kind] for number in numbers):
                    tally.failures[
                        f"{kind}: {'lost' if int(numbers[0]) > expected[kind] else 'twice'}"
                    ] += 1
                    expected[kind] = int(numbers[0])
                if sending.done() and last["echoed"] == sending.result() and last["pushed"]:
                    break
        except ConnectionClosed as error:
            tally.failures[f"closed: {error.rcvd and error.rcvd.code}"] += 1
        finally:
            sending.cancel()


async def send(client, pause, ended, tally):
    """Send numbers until the end; return the last one."""
    number = 0
    while not ended.is_set() or not number:
        number += 1
        tally.counts["sent"] += 1
        await client.send(str(number))
        await asyncio.sleep(pause)
    return number


async def main(url, count, rate):
    ended, tally = asyncio.Event(), Tally()
    waiting = count

    def opened():
        nonlocal waiting
        waiting -= 1
        if not waiting:
            print("opened", flush=True)

    asyncio.get_running_loop().add_reader(0, ended.set)
    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(converse(url, 1 / rate, ended, tally, opened)) for _ in range(count)]
        await ended.wait()
        asyncio.get_running_loop().remove_reader(0)
        _, late = await asyncio.wait(clients, timeout=LIMIT)
        tally.failures["no answer"] += len(late)
        for each in late:
            each.cancel()
    print(json.dumps({"counts": tally.counts, "failures": +tally.failures}), flush=True)


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
