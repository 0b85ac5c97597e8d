"""Lets those who read go before what can wait: a thread that steps back takes what processor time others leave."""

import os
import sys
import threading

STEPS = 10  # of niceness: such a thread weighs a tenth of one that did not step back


def step_back(steps: int = STEPS) -> None:
    """Lower the priority of this thread for good; does nothing where a thread has no priority of its own."""
    if (
        sys.platform != "linux"
    ):  # elsewhere the same call means a whole process, and perhaps another one
        return
    thread = threading.get_native_id()
    try:
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + steps)
    except OSError:
        return  # not allowed here: it works on as it is
