"""A file system without space under the run directory: training and sinks go on, the journal catches up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import sightline as sl
from tests.sinks.readers.tensorboard import numbers, read, seqs

# Runs in a mount namespace of its own, in which `disk` is a file system of 1 MB.
SCRIPT = """
import json, logging, os, sys
import sightline as sl
from sightline.runs import journal

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("sightline").addHandler(handler)
journal._BUFFER_BYTES = int(sys.argv[1])

logger = sl.StatsLoggerConfig(sinks=["tensorboard"], tensorboard=sl.TensorBoardConfig(dir="events"))
run = sl.start("disk", name="run", naming="off", logger=logger)
step = 0
def go(steps):
    global step
    for _ in range(steps):
        sl.scalar(loss=float(step))
        run.commit(step)
        step += 1

go(3)
run.flush(60)
filler = os.open("disk/filler", os.O_WRONLY | os.O_CREAT)
try:
    while True:  # takes all that is left
        os.write(filler, bytes(4096))
except OSError:
    pass
go(50)
run.flush(5)
whole = len(open("disk/run/metrics.jsonl").read().splitlines())
seen = sum(name.startswith("events") for name in os.listdir("events"))
os.close(filler)
os.remove("disk/filler")
go(1)
finished = run.finish()
os.makedirs("kept")
os.system("cp -r disk/run kept/")
print(json.dumps({"said": said, "finished": finished, "lines_when_full": whole, "steps": step}))
"""


def run_on_a_small_disk(folder: Path, buffer: int) -> dict[str, object]:
    (folder / "disk").mkdir()
    (folder / "script.py").write_text(SCRIPT)
    mount = "mount -t tmpfs -o size=1m tmpfs disk && exec "
    shell = f"{mount} {sys.executable} script.py {buffer}"
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", shell]
    root = str(Path(__file__).parents[2])
    env = os.environ | {"PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), root])}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr  # it needs `unshare`, and a kernel that lets users mount a tmpfs
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_sinks_get_every_step_and_the_journal_has_them_all_in_the_end(tmp_path: Path) -> None:
    result = run_on_a_small_disk(tmp_path, 64 << 20)
    assert result["finished"] is True
    assert result["lines_when_full"] < 40  # type: ignore[operator]  # it was full
    words = ("space", "fails", "write", "again")
    said = [line for line in result["said"] if any(word in line for word in words)]  # type: ignore[attr-defined]
    assert [line.partition(" disk/run")[0] for line in said] == [
        "sightline: no space for", "sightline: there is space again for"
    ]  # fmt: skip
    loss = [(step, float(step)) for step in range(54)]
    assert numbers(read(tmp_path / "events"), "loss") == loss
    journal = [r for r in sl.read_journal(tmp_path / "kept" / "run") if r["type"] == "commit"]
    assert [(r["step"], r["values"]["loss"]) for r in journal] == loss
    assert sum(r["values"].get("obs/journal_errors", 0) for r in journal) > 0


def test_what_does_not_fit_into_memory_either_is_counted(tmp_path: Path) -> None:
    result = run_on_a_small_disk(tmp_path, 2000)
    journal = [r for r in sl.read_journal(tmp_path / "kept" / "run") if r["type"] == "commit"]
    lost = sum(r["values"].get("obs/journal_lost_lines", 0) for r in journal)
    steps = [r["step"] for r in journal]
    assert 0 < lost == result["steps"] - len(steps)  # type: ignore[operator]
    assert [step for step, _ in numbers(read(tmp_path / "events"), "loss")] == steps
    assert seqs(tmp_path / "events") == [r["seq"] for r in journal]
