"""What processes of the tests of sessions do: ``python sessions.py FUNCTION JSON-ARGUMENTS``."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import sightline as sl


def wait_for(name: str) -> str:
    """What stands in a file of the working directory, once it is there."""
    path = Path(name)
    while not path.exists():
        time.sleep(0.01)
    return path.read_text()


def stage(**said: Any) -> None:
    """Goes on with the session that the file ``carrier`` names, or begins one, and hands it on."""
    resumes, phase, status = said["resumes"], said["phase"], said.get("status")
    with sl.start("runs", name="run", sinks=[], role=said["role"]) as run:
        session = (
            sl.resume_session(json.loads(wait_for("carrier")))
            if resumes
            else sl.session(task="gsm8k/17", policy_version=3, prompt="How many?")
        )
        with session:
            with sl.session_phase(phase):
                session.count(tokens=5)
            if status:
                session.finish_version(5)
                getattr(session, status)()
            Path("handed_on.part").write_text(json.dumps(session.carrier()))
            Path("handed_on.part").rename("handed_on")
        run.commit(1)


def until_killed(sessions: int) -> None:
    """Has sessions in flight, and others that come and go, until it is killed."""
    with sl.start("runs", name="run", sinks=[]):
        flying = [sl.session(task=f"long/{i}", prompt="x" * 20).begin() for i in range(sessions)]
        for session in flying:
            session.phase("generate").__enter__()
        wait_for("more")
        for session in flying:
            session.count(tokens=7)
            session.phase("reward", k=1).__enter__()
        n = 0
        while True:
            with sl.session(task=f"short/{n}") as session:
                with session.phase("generate"):
                    time.sleep(0.0005)
                session.accept()
            n += 1


def in_a_job() -> None:
    """Ends three sessions as a process of a job, the last of which began elsewhere, and hands one on."""
    import sightline.jax

    sightline.jax.initialize()
    with sl.start("runs", name="run", sinks=[]) as run:
        with sl.session(task="own", policy_version=run.process) as session, session.phase("generate"):
            session.finish_version(10)
            session.accept()
        with sl.session(task="own") as session:
            session.reject("easy")
        with sl.session(task="handed on") as session:
            carrier = session.carrier()
        with sl.resume_session(carrier | {"session": "elsewhere-1"}) as session:
            session.drop("stale")
        run.commit(1)


def forked() -> None:
    """Has a session open while a child is forked, in which sessions go on and begin."""
    import os

    with sl.start("runs", name="run", sinks=[]) as run, sl.session(task="parent") as session:
        child = os.fork()
        if child == 0:
            with session.phase("in the child"), sl.session(task="child") as inner:
                inner.accept()
                assert inner.carrier() == {}
            assert run.files.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        session.accept()


if __name__ == "__main__":
    globals()[sys.argv[1]](**json.loads(sys.argv[2]))
