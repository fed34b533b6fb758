"""A process of its own that counts: `python -m tests.support.counting WHO LIMIT HITS PAUSE ROAD`.

It says `ready`, begins when it is sent a line, and says how many of its hits were let through.
PAUSE: seconds after each hit. ROAD: `loop`, where all come at once, or `threads`, 8 of them.
"""

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import django


def main(who: str, limit: int, hits: int, pause: float, road: str) -> None:
    from orchestrator_site.api.throttling import Bucket
    from orchestrator_site.infra.counters.shared import SHARED

    bucket = Bucket("tasks", who, limit)

    def hit(_: int) -> bool:
        usage = bucket.count()
        time.sleep(pause)
        return not usage.refused

    async def hit_on_loop() -> bool:
        return not (await bucket.add()).refused

    async def all_at_once() -> int:
        return sum(await asyncio.gather(*[hit_on_loop() for _ in range(hits)]))

    print("ready", flush=True)
    sys.stdin.readline()
    if road == "loop":
        passed = asyncio.run(all_at_once())
    else:
        with ThreadPoolExecutor(8 if road == "threads" else 1) as pool:
            passed = sum(pool.map(hit, range(hits)))
    SHARED.tell()
    print(passed, flush=True)


if __name__ == "__main__":
    django.setup()
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5])
