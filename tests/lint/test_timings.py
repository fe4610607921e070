"""SL104: times taken by hand that become metrics."""

import pytest

from tests.lint.marked import assert_as_marked, found, instead


@pytest.mark.parametrize(
    "code",
    [
        """
        import time
        t0 = time.perf_counter()
        work()
        log = {"loss": 0.1, "step_s": time.perf_counter() - t0}  # expect: SL104
        """,
        """
        from time import monotonic_ns as clock
        begin, loss = clock(), step()
        end = clock()
        metrics |= {"took": (end - begin) / 1e9}  # expect: SL104
        """,
        """
        import time as t
        class Loop:
            def before(self):
                self.began = t.time()
            def after(self):
                self.timers["gen"] += t.time() - self.began  # expect: SL104
        """,
        """
        import time
        class Stopwatch:
            def __enter__(self):
                self.t = time.perf_counter()
                return self
            def __exit__(self, *error):
                self.seconds = time.perf_counter() - self.t  # expect: SL104
        with Stopwatch() as watch:
            work()
        metrics["work_s"] = watch.seconds
        """,
        """
        import time
        class Timer:
            def start(self):
                self.t = time.perf_counter()
            def stop(self):
                return time.perf_counter() - self.t
        timer = Timer()
        timer.start()
        work()
        metrics["work_s"] = timer.stop()  # expect: SL104
        timer.start()
        print(timer.stop())
        """,
        """
        import time
        step_times = []
        for batch in batches:
            t = time.time()
            work(batch)
            step_times.append(time.time() - t)  # expect: SL104
        metrics["step_time"] = sum(step_times) / len(step_times)
        """,
        """
        import time, wandb
        start = time.time()
        work()
        elapsed = time.time() - start  # expect: SL104
        wandb.log({"tokens_per_s": tokens / elapsed})  # expect: SL101
        """,
        """
        import datetime
        last = datetime.datetime.now()
        work()
        log_metrics(step, wall=(datetime.datetime.now() - last).total_seconds())  # expect: SL104
        """,
        """
        import time
        def timed(function, *args):
            t0 = time.perf_counter()
            result = function(*args)
            return result, time.perf_counter() - t0  # expect: SL104
        batch, seconds = timed(rollout, policy)
        timings = {"rollout": seconds}
        """,
        """
        import time
        def finish(metrics, start_time):
            metrics["total_s"] = time.time() - start_time  # expect: SL104
        """,
        """
        import time
        class Callback:
            def before(self):
                self.began = time.monotonic()
            def after(self, now, metrics):
                metrics["step_s"] = now - self.began  # expect: SL104
                metrics["slack"] = self.limit - self.began
        """,
        """
        import time
        t0 = time.time()
        def report(step):
            yield {"step": step, "elapsed": round(time.time() - t0, 2)}  # expect: SL104
        """,
        """
        import time
        import sightline as sl
        t0 = time.perf_counter()
        work()
        sl.scalar("train/lag", time.perf_counter() - t0)  # expect: SL104
        """,
        """
        import time
        marks = [time.perf_counter()]
        work()
        marks.append(time.perf_counter())
        stats.update(work_ms=1e3 * (marks[1] - marks[0]))  # expect: SL104
        """,
        """
        from codetiming import Timer
        with Timer(name="gen", logger=None) as timer:
            work()
        timing_raw["gen"] = timer.last  # expect: SL104
        timer.start()
        metrics["update_s"] = timer.stop()  # expect: SL104
        metrics |= {"total_s": Timer.timers.total("gen")}  # expect: SL104
        """,
        """
        from .utils import Timer
        with Timer() as t:
            work()
        elapsed = t.elapsed  # expect: SL104
        log_metrics({"work_s": elapsed})
        """,
        """
        import time
        t0 = time.perf_counter()
        work()
        self.times["update"] = time.perf_counter() - t0  # expect: SL104
        times = {}
        times["step"] = time.perf_counter() - t0  # expect: SL104
        log_metrics(step=time.perf_counter() - t0)  # expect: SL104
        """,
        """
        import time
        class Timer:
            def start(self):
                self.began = time.perf_counter()
            def stop(self, name):
                self.a[name] = self.a.get(name, 0) + time.perf_counter() - self.began  # expect: SL104
                self.times[name] = self.times.get(name, 0) + time.time() - self.began  # expect: SL104
        """,
        """
        import time
        t0 = time.time()
        work()
        times["a_s"] = -t0 + time.time()  # expect: SL104
        times["b_s"] = 1.0 + time.time() - t0  # expect: SL104
        times["c_s"] = before - t0 + time.time()  # expect: SL104
        now = time.time()
        times["d_s"] = 1.0 + now - t0  # expect: SL104
        """,
        """
        from dataclasses import dataclass
        from time import perf_counter
        from lib import StepStats
        @dataclass
        class Metrics:
            dt: float
        t = perf_counter()
        work()
        row = Metrics(dt=perf_counter() - t)  # expect: SL104
        rows.append(StepStats(1, perf_counter() - t))  # expect: SL104
        """,
    ],
)
def test_a_difference_that_becomes_a_metric_is_found_where_it_is_taken(code: str) -> None:
    """Through variables, attributes, lists, timers, helpers and arithmetic."""
    assert_as_marked(code)


@pytest.mark.parametrize(
    "code",
    [
        """
        import time
        t0 = time.perf_counter()
        work()
        print(f"took {time.perf_counter() - t0:.1f} s")
        logger.info("took %.1f s", time.perf_counter() - t0)
        log(f"took {time.perf_counter() - t0}")
        """,
        """
        import time
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            event.wait(timeout=deadline - time.monotonic())
        status = {"remaining": deadline - time.monotonic()}
        """,
        """
        import time
        last = time.time()
        for batch in batches:
            if time.time() - last > 60:
                last = time.time()
            time.sleep(max(0.0, 1.0 - (time.time() - last)))
        """,
        """
        import time
        event = {"time": time.time(), "step": 3}
        metrics["timestamp"] = time.time()
        cache["loss"] = loss, time.monotonic()
        age = {"age": time.time() - path.stat().st_mtime}
        """,
        """
        import time
        def benchmark(f):
            t0 = time.perf_counter()
            f()
            return {"seconds": time.perf_counter() - t0}
        """,
        """
        metrics["delta_time"] = schedule.end - schedule.start
        metrics["time"] = now() - start()
        """,
        """
        import time
        t0 = time.time()
        latencies = np.zeros(100)
        for i in range(100):
            work()
            latencies[i] = time.time() - t0
        print(np.median(latencies))
        """,
        """
        import threading, timeit
        from codetiming import Timer
        @Timer(name="work", text="{:.2f} s")
        def work(): ...
        with Timer() as timer:
            work()
        print(f"{timer.last:.1f} s")
        if timer.last > limit:
            raise TimeoutError
        status = {"seconds": timeit.Timer("f()").timeit(3), "elapsed": threading.Timer(3, work).elapsed}
        metrics["seconds"] = self.timer.seconds
        """,
        """
        import time
        t0 = time.time()
        deadline = 10 + t0
        metrics["remaining_s"] = 10 + t0 - time.time()
        metrics["left_s"] = deadline - time.time()
        metrics["from"] = 5 + time.time() - 3600
        metrics["skew_s"] = path.stat().st_mtime - (t0 + time.time()) / 2
        metrics["step"] = step
        times["update"] = time.time()
        """,
        """
        import time
        from lib import Retry, LogRecord
        def handle(request):
            t0 = time.time()
            response = {"status": 200}
            response["elapsed"] = time.time() - t0
            request.headers["x-elapsed"] = time.time() - t0
            return response, Retry(after=time.time() - t0)
        """,
    ],
)
def test_a_clock_that_is_no_metric_is_left_alone(code: str) -> None:
    """Print-outs, deadlines, pauses, time stamps, ages, benchmarks."""
    assert_as_marked(code)


def test_a_benchmark_may_time_itself() -> None:
    """A file is one by its name or its directory's."""
    code = "import time\nt = time.time()\nresults = {'seconds': time.time() - t}\n"
    assert found(code, "train.py") == {(3, "SL104"): 1}
    assert not found(code, "benchmarks/recording.py")
    assert not found(code, "tools/bench_recording.py")


def test_a_timing_under_a_counters_name_is_called_so() -> None:
    """``update`` and ``step`` are stages as well."""
    start = "import time\nt0 = time.time()\n"
    assert instead(start + 'times["update"] = time.time() - t0')[0].startswith(
        'with sl.record_timing("update"):'
    )


def test_the_timing_to_write_instead_has_the_name_of_its_variable_or_key() -> None:
    """And a rate beside it where one was made."""
    start = "import time\nt0 = time.time()\n"
    assert instead(start + 'log["time/train/rollout_s"] = time.time() - t0')[0].startswith(
        'with sl.record_timing("rollout"):'
    )
    assert instead(start + "t_update = time.time() - t0\nmetrics = {'t': t_update}")[0].startswith(
        'with sl.record_timing("update"):'
    )
    assert instead(start + 'log["tokens_per_s"] = tokens / (time.time() - t0)')[0].endswith(
        'sl.rate("tokens", tokens, over="step")'
    )
    assert instead(start + "stats.blocking_duration_secs = time.time() - t0")[0].startswith(
        'with sl.record_timing("blocking"):'
    )
    both = "train_log = {'time/train/step_s': times[-1], 'time/train/step_avg_s': sum(times)}"
    assert instead(f"{start}times = []\ntimes.append(time.time() - t0)\n{both}")[0].startswith(
        'with sl.record_timing("step"):'
    )
    assert instead(start + 'metrics = {"train/time(s)": time.time() - t0}')[0].startswith(
        'with sl.record_timing("step"):'
    )
