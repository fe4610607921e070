"""What names say: of a step, of metrics, of a benchmark, of a size, in the words that training code uses.

Data flow decides wherever it can. Names decide where a file cannot know: what a function that is imported
does, what a parameter is, what a dict is for.
"""

from __future__ import annotations

import functools
import itertools
import re


def named(text: str) -> frozenset[str]:
    """The words of a text: how the tables here are written."""
    return frozenset(text.split())


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_WRAPPED = named("fn func function impl jit jitted pmap pmapped compiled parallel p c sharded")
_PHASES = named(
    "train training eval evaluate evaluation valid validation validate val test update grad gradient "
    "gradients optim optimizer optimize optimise opt sgd ppo grpo dpo sft rl policy actor critic value "
    "learner learn distill pretrain finetune inner outer micro loss reward forward backward fit"
)
_UPDATED = named(
    "policy actor critic model params state states network agent learner weights ppo grpo step value "
    "minibatch batch epoch once"
)
_STEPS = frozenset(
    {
        ("step",),
        ("update",),
        ("train", "one", "step"),
        ("train", "one", "batch"),
        ("train", "batch"),
        ("train", "on", "batch"),
        ("train", "minibatch"),
        ("eval", "batch"),
        ("eval", "one", "batch"),
        ("evaluate", "batch"),
        ("forward", "backward"),
        ("train",),
    }
)
_MAKING = named("make build create")
_FUNCTIONS = named("fn func function")
_HOOKING = named("on after report")
_ENDING = named("final last end best eval evaluation evaluate test validation summary result results config")
_GIVEN = named("output outputs out result results metrics stats")
_STEPPED = named(
    "env envs environment environments simulator sim game gym world optimizer optimizers optim opt tx "
    "scheduler sched pbar bar tqdm progress hasher hash hashlib config cfg dict metrics metric meter meters "
    "profiler prof scaler cursor ema counter logs stats params kwargs d table headers session"
)

_LOGGING = named("log logs logged logging report track record observe emit publish")
_HANDING = named("write add update push send put append store save")
_NUMBERS = named("metric metrics scalar scalars stat stats summary summaries log logs timing timings")
_PROBABILISTIC = named(
    "prob probs probability probabilities softmax sigmoid likelihood sum sumexp exp det normal ratio ratios "
    "pdf cdf pmf gamma beta density p q pi odds marginal uniform space scale domain 1 2 10 dir path file "
    "level format name interval every steps freq frequency ps loss z"
)
_STATISTICS = named(
    "metric metrics stat stats statistics mean avg average median std var sum total max min accuracy acc "
    "percentile quantile summarize summarise summary describe aggregate reduce fmt format round scalar "
    "float number perplexity ppl rate per nanmean nanstd nansum nanmax nanmin"
)
_CONTAINERS = named(
    "metric metrics log logs stat stats statistics scalar scalars summary summaries history timing timings "
    "timer timers times durations perf telemetry losses meters"
)
_SEQUENCES = named("list lists tensor tensors array arrays vector values")
_MEASURED = named("metric metrics stats statistics scalars timings times durations telemetry")
_REPLIES = named("response reply resp headers header")
_SETTINGS = named("alpha beta gamma epsilon temperature difficulty coef coefficient threshold")
_KEYS = named(
    "loss losses acc accuracy reward rewards return returns score kl entropy grad norm gnorm lr ppl "
    "perplexity bleu rouge f1 auc mean std var avg average median min max p50 p95 p99 tokens throughput tps "
    "mfu flops time times timing duration elapsed latency seconds second secs sec s ms us ns speed fps qps "
    "per rate hr ndcg pass clip clipfrac ratio advantage advantages length lengths metric metrics"
)
_TIMES = named(
    "time times timing timings duration elapsed latency seconds second secs sec s ms us ns took wall "
    "timeperf profiling"
)
_SIZES = named(
    "len length lengths shape size sizes width height pad padded padding bucket num n count capacity dim "
    "dims steps examples samples iterations iters rows maxlen epochs"
)
_METRICS = named("loss acc accuracy reward score kl entropy ppl perplexity metric stat error")
_STARTS = named(
    "start started starts begin began begun tic last prev previous since t ts then before time stamp "
    "clock timer"
)
_NOWS = named("now end ended stop stopped finish finished current after toc done t")
_ENDS = named("deadline end until expires expiry timeout limit mtime ctime atime created modified")
_BENCHMARKS = named("bench benches benchmark benchmarks benchmarking timeit microbench microbenchmark")
_COUNTERS = named(
    "step steps global_step current_step train_step iteration iter iter_num it epoch global_steps update "
    "n i k j index idx update_step num_steps batch_idx commit rank"
)
_DATA = named(
    "loader dataloader loaders batches dataset datasets ds data iterator iter pipeline stream examples "
    "minibatches samples"
)
_DECIDERS = named(
    "scheduler sched stopper stopping early plateau controller ctl ctrl checkpoint checkpoints ckpt "
    "checkpointer checkpointing save saver scaler converged patience assert"
)
_MEDIA = named("table image images video audio html figure plot object3d plotly molecule dataframe frame")
_WRITERS = named("writer tb tensorboard board experiment summary")
_LOGGERS = named("logger loggers")
_STANDINS = named("fake dummy mock stub null noop no")
_SHAPERS = named("pad padded padding bucket buckets reshape resize allocate alloc broadcast multiple")


@functools.cache
def words(name: str) -> tuple[str, ...]:
    """A name's parts, in lower case.

    Example:
        >>> words("p_trainStep2"), words("HTTPTimer")
        (('p', 'train', 'step', '2'), ('http', 'timer'))
    """
    return tuple(word.lower() for word in _WORD.findall(name))


@functools.cache
def is_step(name: str, receiver: str = "") -> bool:
    """Whether a function of this name does one training or evaluation step, and gives what devices compute.

    Args:
        name: of the function.
        receiver: what it is a method of, as ``"env"`` in ``env.step``; empty for a function.

    Example:
        >>> is_step("train_step"), is_step("p_eval_step"), is_step("update_policy"), is_step("step", "env")
        (True, True, True, False)
        >>> is_step("make_train_step"), is_step("step", "super")
        (False, False)
    """
    if makes_step(name):
        return False
    parts = words(name)
    while len(parts) > 1 and parts[0] in _WRAPPED:
        parts = parts[1:]
    while len(parts) > 1 and parts[-1] in _WRAPPED:
        parts = parts[:-1]
    if not parts or (receiver and words(receiver)[-1:] and words(receiver)[-1] in _STEPPED):
        return False
    if receiver == "super" and len(parts) == 1:  # super().step(…): that of an environment's wrapper, mostly
        return False
    if parts == ("train",):  # train() is a whole training, train_fn() a step
        return len(words(name)) > 1
    if parts in _STEPS:
        return True
    if parts[-1] == "step":
        return not _PHASES.isdisjoint(parts[:-1])
    return parts[0] == "update" and not _UPDATED.isdisjoint(parts[1:])


@functools.cache
def makes_step(name: str) -> bool:
    """Whether a function of this name makes a function, or several, that do a step.

    Example:
        >>> makes_step("make_train_step"), makes_step("build_update_fn"), makes_step("get_step_fn")
        (True, True, True)
        >>> makes_step("get_step"), makes_step("make_env_step"), makes_step("build_steps_table")
        (False, False, False)
    """
    first, *parts = words(name) or ("",)
    if first not in _MAKING and not (first == "get" and parts[-1:] and parts[-1] in _FUNCTIONS):
        return False
    is_function = bool(parts) and parts[-1] in _WRAPPED
    while len(parts) > 1 and parts[-1] in _WRAPPED:
        parts.pop()
    if not parts or not _STEPPED.isdisjoint(parts):
        return False
    made = "_".join([*parts, "fn"] if is_function else parts)
    return parts[-1] in ("step", "steps", "update", "updates") or is_step(made)


@functools.cache
def is_hook(name: str) -> bool:
    """Whether a function of this name is called after each step: ``on_step``, ``record_update``.

    Example:
        >>> is_hook("on_step"), is_hook("on_train_batch_end"), is_hook("record_warmup"), is_hook("log_prob")
        (True, True, True, False)
        >>> is_hook("on_evaluation"), is_hook("log_final_loss"), is_hook("step")
        (False, False, False)
    """
    first, *parts = words(name) or ("",)
    if first in ("record", "log"):
        return bool(parts) and _ENDING.isdisjoint(parts) and not is_probabilistic(name)
    return first in _HOOKING and not {"step", "update", "batch"}.isdisjoint(parts)


@functools.cache
def is_step_output(name: str) -> bool:
    """Whether a class of this name holds what a step gives.

    Example:
        >>> is_step_output("Update"), is_step_output("TrainStepOutput"), is_step_output("Output")
        (True, True, False)
    """
    parts = words(name)
    return parts == ("update",) or (
        parts[-1:] != () and parts[-1] in _GIVEN and not {"step", "update"}.isdisjoint(parts[:-1])
    )


@functools.cache
def is_log_call(name: str) -> bool:
    """Whether a function of this name is told metrics.

    Example:
        >>> is_log_call("log_metrics"), is_log_call("write_scalars"), is_log_call("log_softmax")
        (True, True, False)
    """
    parts = words(name)
    if parts in (("scalar",), ("scalars",), ("gauge",)):
        return True
    if not _LOGGING.isdisjoint(parts):
        return not is_probabilistic(name)
    return not _HANDING.isdisjoint(parts) and not _NUMBERS.isdisjoint(parts)


@functools.cache
def is_probabilistic(name: str) -> bool:
    """Whether ``log`` in a name is the logarithm, or belongs to a setting of logging."""
    parts = words(name)
    return any(a in ("log", "logging") and b in _PROBABILISTIC for a, b in itertools.pairwise(parts))


@functools.cache
def is_statistic(name: str) -> bool:
    """Whether a function of this name makes a few numbers of what it is given."""
    return not _STATISTICS.isdisjoint(words(name))


@functools.cache
def is_metrics(name: str) -> bool:
    """Whether a dict, list or object of this name holds metrics.

    Example:
        >>> is_metrics("train_log"), is_metrics("timing_raw"), is_metrics("log_probs"), is_metrics("batch")
        (True, True, False, False)
    """
    return not _CONTAINERS.isdisjoint(words(name)) and not is_probabilistic(name)


@functools.cache
def is_metrics_class(name: str) -> bool:
    """Whether objects of a class of this name are sets of metrics.

    Example:
        >>> is_metrics_class("StepMetrics"), is_metrics_class("Logger"), is_metrics_class("Timer")
        (True, False, False)
    """
    return words(name)[-1:] != () and words(name)[-1] in _MEASURED


@functools.cache
def is_sequence(name: str) -> bool:
    """Whether something of this name is a list or an array, and no dict: ``timing_list``."""
    return not _SEQUENCES.isdisjoint(words(name))


@functools.cache
def is_state(name: str) -> bool:
    """Whether the dict that a function of this name gives is kept, to go on from it later.

    Example:
        >>> is_state("state_dict"), is_state("__getstate__"), is_state("train_state")
        (True, True, False)
    """
    return name.strip("_") in ("state_dict", "getstate", "get_state", "save_state")


@functools.cache
def is_reply(name: str) -> bool:
    """Whether a dict of this name goes back to whoever asked, as that of a server does."""
    return not _REPLIES.isdisjoint(words(name)) and not is_metrics(name)


@functools.cache
def is_setting(name: str) -> bool:
    """Whether a number of this name says how training goes on, as the beta of a replay buffer does."""
    return words(name)[-1:] != () and words(name)[-1] in _SETTINGS


@functools.cache
def is_results(name: str) -> bool:
    """Whether what a function returns under this name is results, metrics or not."""
    return is_metrics(name) or not {"result", "results"}.isdisjoint(words(name))


@functools.cache
def is_metric_key(key: str) -> bool:
    """Whether a key of a dict names a metric.

    Example:
        >>> is_metric_key("train/loss"), is_metric_key("rollout_s"), is_metric_key("input_ids")
        (True, True, False)
    """
    return "/" in key or not _KEYS.isdisjoint(words(key))


@functools.cache
def is_time(key: str) -> bool:
    """Whether a key names a duration, or stands in a dict of timings."""
    return not _TIMES.isdisjoint(words(key))


@functools.cache
def is_size(name: str) -> bool:
    """Whether a number of this name is how many there are of something, and not how good it is."""
    parts = words(name)
    return not _SIZES.isdisjoint(parts) and _METRICS.isdisjoint(parts)


@functools.cache
def is_loss(name: str) -> bool:
    """Whether a variable of this name is a loss, or a term of one."""
    return not {"loss", "losses", "kl", "entropy", "penalty"}.isdisjoint(words(name)) and not (
        {"coef", "coeff", "weight", "beta", "alpha", "scale", "config", "cfg"} & {*words(name)}
    )


@functools.cache
def is_start(name: str) -> bool:
    """Whether a variable of this name holds when something began."""
    parts = words(name)
    return not _STARTS.isdisjoint(parts) and _ENDS.isdisjoint(parts)


@functools.cache
def is_now(name: str) -> bool:
    """Whether a variable of this name holds when something ended."""
    return not _NOWS.isdisjoint(words(name))


@functools.cache
def is_benchmark(name: str) -> bool:
    """Whether a file, class or function of this name measures on purpose."""
    parts = words(name)
    return not _BENCHMARKS.isdisjoint(parts) or (parts or ("",))[0] in ("profile", "measure")


@functools.cache
def is_counter(name: str) -> bool:
    """Whether a variable or a parameter of this name is the step, and no metric."""
    return name in _COUNTERS


@functools.cache
def is_writer(name: str) -> bool:
    """Whether a variable of this name is a TensorBoard writer."""
    return not _WRITERS.isdisjoint(words(name))


@functools.cache
def is_logger(name: str) -> bool:
    """Whether a variable of this name is a logger."""
    return not _LOGGERS.isdisjoint(words(name))


@functools.cache
def is_stand_in(name: str) -> bool:
    """Whether a class of this name takes the place of a real one."""
    return not _STANDINS.isdisjoint(words(name))


@functools.cache
def is_data(name: str) -> bool:
    """Whether iterating over something of this name gives batches."""
    return not _DATA.isdisjoint(words(name))


@functools.cache
def is_decider(name: str) -> bool:
    """Whether a function or object of this name decides how training goes on, or keeps it."""
    return not _DECIDERS.isdisjoint(words(name))


@functools.cache
def is_media(name: str) -> bool:
    """Whether something of this name is a table or a picture, and no number."""
    return not _MEDIA.isdisjoint(words(name))


@functools.cache
def is_shaper(name: str) -> bool:
    """Whether a function of this name is told how large something must be."""
    return not _SHAPERS.isdisjoint(words(name))
