"""Stands for a worker process: it trains nothing, and goes wrong as the environment says.

FAULT_BUILD=64       the process is killed while a model of width 64 is built
FAULT_TRAIN=2        ... while a cell of log10 gamma = 2 is trained
FAULT_SAY=text       sent in place of the first event of every pack
FAULT_SILENT=1       cells end without a word
FAULT_LOCKED=file    cells are trained by another process as long as the file is there, which is once
FAULT_START=3        the process ends with this status before it is ready
"""

import json
import os
import signal
import sys
from pathlib import Path

fault = {name.removeprefix("FAULT_"): value for name, value in os.environ.items()}


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


if "START" in fault:
    sys.exit(int(fault["START"]))
say("ready")
for line in sys.stdin:
    request = json.loads(line)
    tasks = request["tasks"]
    if str(tasks[0]["record"]["model"]["width"]) == fault.get("BUILD"):
        die()
    if request["do"] == "train" and "SAY" in fault:
        print(fault["SAY"], flush=True)
    say("prepared")
    if request["do"] == "lanes":
        say("lanes", lanes=4)
        continue
    for task in tasks:
        if task["record"]["gamma"] == fault.get("TRAIN"):
            die()
        if Path(fault.get("LOCKED", "/nowhere")).exists():
            say("locked", output=task["output"])
        elif "SILENT" not in fault:
            say("cell", output=task["output"], status="trained", seconds=0.0)
    Path(fault.get("LOCKED", "/nowhere")).unlink(missing_ok=True)
    say("end")
