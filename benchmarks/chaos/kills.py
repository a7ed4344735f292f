"""`kill -9`: workers die at random moments, with rows claimed, requests in flight and answers not yet recorded."""

from __future__ import annotations

import time

from benchmarks.chaos.bench import Bench, latency
from benchmarks.chaos.settings import CHUNK_SIZE
from benchmarks.chaos.verdict import Finding


def kill_loops(bench: Bench) -> Finding:
    """Kill `deliver_push --loop` processes, three at a time, while rows keep coming."""
    finding = Finding("kill -9 of deliver_push --loop")
    wanted = 8 if bench.small else 130
    kills = 0
    with latency(bench.push_service, 0.02):
        bench.send(400)
        for _ in range(3):
            bench.start()
        while kills < wanted:
            time.sleep(bench.random.uniform(0.02, 0.5))
            bench.kill(bench.random.choice(bench.workers))
            kills += 1
            bench.start()
            if bench.open_rows() < 300:
                bench.send(100)
        seconds = bench.settle(finding)
    bench.stop_workers()
    finding.figures |= {"kills": kills, "settled s": round(seconds, 1)}
    bench.judge(finding)
    repeats = finding.figures["repeats"]
    finding.expect(repeats <= kills * CHUNK_SIZE, f"{repeats} repeats after {kills} kills of {CHUNK_SIZE} rows each")
    return finding
