"""What holds of the metrics of every GRPO runner: the tests that `TestMetrics` of each inherits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

import pytest

import sightline as sl
from tests.runners.jobs import Finished


class GrpoMetrics:
    """What reaches the journal equals what the old way computes, under the old names too.

    Attributes:
        aliases: the runner's table of old names.
        marks: by place (`train`) a key that its commits have, and no others; old names of one may lie in
            the scope of another.
        new: keys that have no old computation.
        phases: of a step, by the names of their timings.
        on_devices: those that end when the devices are done, maybe after the step has let them go on alone.
        timings: all that every step has.
        rates: that every step has.
        prompts: of a step of the smoke config.
        learned: keys by which runs on one and on two processes are compared.
        table: of the samples of a step.
        summary: what the root prints of the result, and by which words nobody else does.
    """

    aliases: ClassVar[str]
    marks: ClassVar[Mapping[str, str]]
    new: ClassVar[frozenset[str]] = frozenset()
    phases: ClassVar[tuple[str, ...]]
    on_devices: ClassVar[tuple[str, ...]]
    timings: ClassVar[tuple[str, ...]]
    rates: ClassVar[tuple[str, ...]]
    prompts: ClassVar[int]
    learned: ClassVar[tuple[str, ...]]
    table: ClassVar[str]
    summary: ClassVar[tuple[str, str]]

    @pytest.fixture(
        params=["one_process", "two_processes", pytest.param("four_processes", marks=pytest.mark.long)]
    )
    def run(self, request: pytest.FixtureRequest) -> Finished:
        finished: Finished = request.getfixturevalue(request.param)
        return finished

    def test_every_metric_equals_its_old_computation_key_by_key(self, run: Finished) -> None:
        seen = set()
        for line in run.journal():
            for name in ("train", "eval", "eval_full"):
                if self.marks[name] not in line["values"]:
                    continue
                seen.add(where := f"{line['step']} {name}")
                for key, (expected, tolerance) in run.old_style[where].items():
                    assert line["values"][key] == pytest.approx(expected, rel=0, abs=tolerance), (where, key)
        assert seen == set(run.old_style)

    def test_nothing_is_recorded_but_what_has_an_old_computation_or_is_a_time(self, run: Finished) -> None:
        assert run.without_an_old_computation(self.marks, self.aliases) == self.new

    def test_samples_of_every_step_are_kept_for_people(self, run: Finished) -> None:
        """Some of all processes, with what was asked, answered and expected, and the reward."""
        shown = [line for line in run.journal("sample") if line["table"] == self.table]
        assert [line["step"] for line in shown] == [line["step"] for line in run.steps()]
        for line in shown:
            rewards = [row["reward"] for row in line["rows"]]
            assert {"prompt", "completion", "answer", "reward", "process"} <= set(line["rows"][0])
            (values,) = [each["values"] for each in run.steps() if each["step"] == line["step"]]
            assert max(rewards) == pytest.approx(values["train/reward/total/max"], abs=1e-6)

    def test_timings_and_rates_are_there_at_every_step(self, run: Finished) -> None:
        assert run.steps()
        for line in run.steps():
            for key in (*(f"time/train/{name}_s" for name in self.timings), *self.rates):
                assert line["values"][key] > 0, key

    def test_rates_times_and_amounts_belong_together(self, run: Finished) -> None:
        """A rate without a timing of its own is by the time between two commits, in which the step lies."""
        for line, seconds in zip(run.steps(), run.of_root("time/train/step_s"), strict=True):
            values = line["values"]
            tokens = values["train/valid_tokens"]
            update = values["throughput/train/valid_tokens_update_per_s"] * values["time/train/update_s"]
            assert update == pytest.approx(tokens)
            assert tokens / values["throughput/train/valid_tokens_per_s"] >= seconds

    def test_the_phases_on_the_host_add_up_to_no_more_than_the_step(self, run: Finished) -> None:
        for line in run.steps():
            times = {name: line["values"][f"time/train/{name}_s"] for name in (*self.phases, "step")}
            on_host = sum(times[name] for name in self.phases if name not in self.on_devices)
            assert on_host <= times["step"] * 1.001

    def test_tokens_are_counted_once_for_each_optimiser_step_whatever_the_split(self, run: Finished) -> None:
        for line in run.steps():
            tokens = line["values"]["train/valid_tokens"]
            for key in ("train/ratio__count", "train/advantage__count"):
                assert line["counts"][key] == 2 * tokens  # grpo.ppo_epochs of the smoke config
            assert line["counts"]["train/grad_norm__count"] == 2

    def test_each_group_is_a_session_that_is_rejected_if_nothing_is_learned_from_it(
        self, run: Finished
    ) -> None:
        for line in run.steps():
            values = line["values"]
            rejected = values.get("rollout/session/rejected", 0)
            assert rejected == pytest.approx(self.prompts * values["train/reward/zero_variance_groups"])
            assert rejected + values.get("rollout/session/accepted", 0) == self.prompts
            assert values["rollout/session/staleness/mean"] == 0
        others = [line["values"] for line in run.journal() if line not in run.steps()]
        assert others  # evaluations, of the same steps
        assert not [key for values in others for key in values if key.startswith("rollout/session/acc")]
        sessions = list(sl.read_sessions(run.dir))
        assert {phase.name for session in sessions for phase in session.phases} == {"generate", "reward"}
        assert all(session.status in ("accepted", "rejected") for session in sessions)

    def test_every_device_value_reaches_its_commit(self, run: Finished) -> None:
        for line in run.journal():
            trouble = [key for key in line["values"] if key.startswith("obs/")]
            assert trouble == [], line["step"]

    def test_every_process_takes_part_in_every_training_commit(self, run: Finished) -> None:
        steps = run.steps()
        assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
        assert all(line["expected"] == line["reported"] == len(run.outputs) for line in steps)

    def test_two_processes_find_and_learn_what_one_does(
        self, one_process: Finished, two_processes: Finished
    ) -> None:
        for a, b in zip(one_process.journal(), two_processes.journal(), strict=True):
            for key in self.learned:
                if key in a["values"]:
                    found = b["values"][key]
                    assert a["values"][key] == pytest.approx(found, rel=1e-3, abs=1e-4), (a["step"], key)

    def test_the_root_alone_prints_the_summary_and_names_files_that_exist(
        self, two_processes: Finished
    ) -> None:
        root, other = two_processes.printed
        result, words = self.summary
        assert result in root
        assert words in result
        assert words not in other
        files = re.search(r"Written:\n((?:  .+\n)+)", root)
        assert files is not None
        names = {line.strip().rsplit("/", 1)[1] for line in files[1].splitlines()}
        assert names >= {"metrics.jsonl", "eval.json", "traces", "sessions", "checkpoints"}
