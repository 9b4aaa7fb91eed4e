"""A library's own lines are left out of standard error; nobody else's are lost."""

from __future__ import annotations

import subprocess
import sys

_LINES = """
import os, threading, time
from engine.tracking.litert_model import LiteRtModel, loading_quietly
written, stop = 0, threading.Event()

def log():
    global written
    while not stop.is_set():
        written += 1
        os.write(2, b"ERROR line %d\\n" % written)
        time.sleep(0.002)

thread = threading.Thread(target=log)
thread.start()
with loading_quietly():
    while written < 60:
        LiteRtModel("face_mesh"), LiteRtModel("pose_landmarks")
    stop.set()
    thread.join()
print(written)
"""

_CHILD = """
import re, subprocess, sys, threading
from engine.tracking.stderr_filter import without_lines

with without_lines(re.compile(rb"noise \\d+")):
    late = [sys.executable, "-c", "import sys, time; time.sleep(1); print('late', file=sys.stderr)"]
    child = subprocess.Popen(late)
    sys.stderr.write("noise 1\\nof the program\\nno noise 2\\r50 %\\rnoise 3\\n.\\n\\n")
    sys.stderr.flush()
sys.stderr.write("after\\n")
child.wait()
for thread in threading.enumerate():  # that passes on what the child wrote
    if thread.name == "stderr":
        thread.join()
"""


def run(code: str) -> tuple[str, list[str]]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr.splitlines()


def test_no_line_of_others_is_lost_while_models_load() -> None:
    """Standard error was switched off for the whole process: 207 of 265 lines went with it."""
    written, lines = run(_LINES)
    assert int(written) >= 60
    whole = [line.removeprefix("INFO: ") for line in lines]  # TFLite writes its own line in pieces
    assert whole == [f"ERROR line {number}" for number in range(1, int(written) + 1)]


def test_lines_of_a_child_that_outlives_the_filter_still_come() -> None:
    _, lines = run(_CHILD)
    assert lines == ["of the program", "no noise 2", "50 %", ".", "", "after", "late"]
