"""How long an event loop is held at once, in CPU time of its thread: load does not count."""

import time

import trio


class LoopSteps(trio.abc.Instrument):
    """Give it to `trio.run(instruments=[…])`. Seconds."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.total_s = 0.0
        self._began = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        step_s = time.thread_time() - self._began
        self.total_s += step_s
        self.longest_s = max(self.longest_s, step_s)
