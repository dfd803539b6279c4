"""What seconds are: of a clock on the wall, or of the processor, which other work on the machine does not use up."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]

WALL, CPU = "wall", "cpu"
CLOCKS: dict[str, Clock] = {WALL: time.perf_counter, CPU: time.process_time}
