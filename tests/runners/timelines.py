"""What the timeline of a runner's run shows of which rollout an update trains on."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

from sightline.timeline.merging import merge
from tests.perfetto import Engine
from tests.runners.jobs import Finished

#: Arrows, as the engine has drawn them: from which span of which process and step to which.
_ARROWS = """
select o.name as source, i.name as target, op.pid as source_process, ip.pid as target_process,
  extract_arg(o.arg_set_id, 'args.step') as source_step,
  extract_arg(i.arg_set_id, 'args.step') as target_step,
  i.ts - o.ts as took
from flow join slice o on o.id = flow.slice_out join slice i on i.id = flow.slice_in
join thread_track ot on ot.id = o.track_id join thread oth on oth.utid = ot.utid
join process op on op.upid = oth.upid
join thread_track it on it.id = i.track_id join thread ith on ith.utid = it.utid
join process ip on ip.upid = ith.upid
"""


def check_arrows(run: Finished, out: Path, *stages: str) -> None:
    """An arrow leads from each stage to the next, in every process and step, forwards; there is no other."""
    report = merge([output / "run" for output in run.outputs], out)
    assert report.problems == []
    with Engine() as engine:
        trace = engine.load(out)
        assert trace.errors() == {}
        arrows = trace.query(_ARROWS)
        assert trace.counts().flows == len(arrows)
    drawn = Counter(
        (each["source"], each["target"], each["source_process"], each["source_step"]) for each in arrows
    )
    processes = {each["source_process"] for each in arrows}
    assert len(processes) == len(run.outputs)
    assert drawn == {
        (source, target, process, line["step"]): 1
        for source, target in itertools.pairwise(stages)
        for process in processes
        for line in run.steps()
    }
    for each in arrows:
        assert each["took"] > 0
        assert each["source_process"] == each["target_process"]
        assert each["source_step"] == each["target_step"]
