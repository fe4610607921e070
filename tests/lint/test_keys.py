"""SL105: keys outside the naming conventions."""

import pytest

from tests.lint.marked import assert_as_marked, instead


@pytest.mark.parametrize(
    "code",
    [
        """
        import sightline as sl
        sl.scalar("trainLoss", loss)  # expect: SL105
        sl.summary("reward_mean", rewards)  # expect: SL105
        sl.total(num_tokens=n)  # expect: SL105
        sl.scalar(**{"train/avg_loss": loss})  # expect: SL105
        """,
        """
        from sightline import scalar, scope, StatsTracker, tracker
        with scope("train"):
            scalar(lossValue=1.0)  # expect: SL105
        StatsTracker("a").last("LR", 1.0)  # expect: SL105
        other = tracker("b")
        other.masked(f"Reward/{name}", values, mask)  # expect: SL105
        """,
        """
        import sightline as sl
        with sl.start("runs") as run:
            sl.scalar(loss=1.0)  # expect: SL105
            with sl.scope("actor"):
                sl.scalar(loss=1.0)  # expect: SL105
            with sl.scope("train"):
                sl.scalar(loss=1.0)
        """,
        """
        import sightline as sl
        class Recorder:
            def __init__(self, stats: "sl.StatsTracker"):
                self.stats = stats
            @sl.scope("train")
            def record(self, rewards):
                self.stats.summary("reward.total", rewards)  # expect: SL105
                with self.stats.record_timing("update_time"):  # expect: SL105
                    pass
        """,
        """
        import sightline as sl
        sl.scalar("train//loss", 1.0)  # expect: SL105
        sl.scalar("train/loss__count", 1.0)  # expect: SL105
        with sl.scope("train"):
            sl.rate("tokens_per_second", 3)  # expect: SL105
        """,
        """
        import sightline as sl
        def record(values):
            sl.scalar("Loss", values)  # expect: SL105
        def main():
            with sl.start("runs") as run, sl.scope("train"):
                record(values)
        """,
    ],
)
def test_an_odd_key_is_found(code: str) -> None:
    """In every recording call, as an argument or a keyword, whole or an f-string, under its scopes."""
    assert_as_marked(code)


@pytest.mark.parametrize(
    "code",
    [
        """
        import sightline as sl
        def record(rewards, scope):
            sl.summary("reward/total", rewards)
            with sl.scope(scope):
                sl.scalar(loss=1.0, per_process=True)
                sl.ratio("accuracy", 1, 2, replicated=True)
            sl.scalar(f"{name}Loss", 1.0)
            sl.scalar(key, 1.0)
        """,
        """
        import sightline as sl
        with sl.start("runs", namespaces=("actor",)) as run:
            sl.scalar("actor/loss", 1.0)
            sl.text("train/split", "test")
            sl.histogram("train/length", lengths, bins=8)
            with sl.scope("train"), sl.record_timing("rollout"):
                sl.rate("tokens", 3, over="rollout")
        """,
        """
        import sightline as sl
        with sl.start("runs", naming="off") as run:
            sl.scalar("actor/loss", 1.0)
        """,
        """
        import sightline as sl
        def step(stats):
            stats.scalar("Not Ours", 1.0)
            np.float32.scalar("Not Ours")
            sl.start("Runs", name="A Run")
            sl.scope("train")
        """,
    ],
)
def test_a_key_that_may_be_right_is_left_alone(code: str) -> None:
    """Where the scope is not known, only what no scope can mend counts."""
    assert_as_marked(code)


@pytest.mark.parametrize(
    ("call", "better"),
    [
        ('sl.scalar("gradNorm", x)', 'sl.scalar("grad_norm", …)'),
        ('sl.scalar("reward_mean", x)', 'sl.summary("reward", …)'),
        ('sl.scalar("step_time_sec", x)', 'with sl.record_timing("step"): …'),
        ('sl.scalar("tokens_per_sec", x)', 'sl.rate("tokens", …)'),
        ("sl.total(num_tokens=x)", 'sl.total("tokens", …)'),
        ('sl.scalar("clip_pct", x)', 'sl.scalar("clip_fraction", …)'),
    ],
)
def test_the_key_to_write_instead_keeps_the_conventions(call: str, better: str) -> None:
    """And the call that makes it, where another one does."""
    assert instead(f"import sightline as sl\nwith sl.scope('train'):\n    {call}") == [better]


def test_the_keys_of_final_values_are_looked_at_too() -> None:
    """They stand under no scope; counts are no keys, and where naming is off nobody looks."""
    code = """
        import sightline as sl
        with sl.start("runs"{naming}) as run:
            with sl.scope("x"):
                run.commit(1, {{"Train/Loss": 1.0}}){expect}
            run.commit(2, {{"train/loss": 1.0, f"eval/{{name}}": 2.0, "train/loss__count": 3}})
        """
    assert_as_marked(code.format(naming="", expect="  # expect: SL105"))
    assert_as_marked(code.format(naming=", naming='off'", expect=""))
