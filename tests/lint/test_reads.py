"""SL103: reads of step outputs in the loop that makes them."""

import pytest

from tests.lint.marked import assert_as_marked, instead


@pytest.mark.parametrize(
    "code",
    [
        """
        from lib import train_step
        for step, batch in enumerate(loader):
            losses.append(float(train_step(state, batch)[1]))  # expect: SL103
        """,
        """
        import jax
        step = jax.jit(f)
        while True:
            state, metrics = step(state, batch)
            metrics = {k: float(v) for k, v in metrics.items()}  # expect: SL103
            report(metrics)
        """,
        """
        import jax, numpy as np
        @jax.jit
        def forward(params, batch): return params
        async def serve(batches, metrics):
            async for batch in batches:
                out = forward(params, batch)
                metrics["score"] = np.asarray(out["score"]).mean()  # expect: SL103
        """,
        """
        from functools import partial
        import jax
        class Trainer:
            @partial(jax.jit, static_argnums=0)
            def step(self, state, batch): return state, {}
            def fit(self, state, batches):
                running = 0.0
                for batch in batches:
                    state, out = self.step(state, batch)
                    running = 0.9 * running + 0.1 * out["loss"].item()  # expect: SL103
                return running
        """,
        """
        import jax
        compiled = jax.jit(f, donate_argnums=0).lower(state, batch).compile()
        for batch in batches:
            state, loss = compiled(state, batch)
            loss.block_until_ready()  # expect: SL103
        """,
        """
        import jax
        from lib import update_policy
        for batch in batches:
            state, metrics = update_policy(state, batch)
            host = jax.tree.map(lambda x: x.item(), metrics)  # expect: SL103
            print(host)
        """,
        """
        import jax
        p_train_step = jax.pmap(f, axis_name="batch")
        buffer = []
        for step in range(1000):
            state, metrics = p_train_step(state, batch)
            buffer.append(metrics)
            if step % 100 == 99:
                mean = sum([m["loss"].item() for m in buffer]) / 100  # expect: SL103
                print(f"{step}: {mean}")
                buffer = []
        """,
        """
        import jax
        grad_fn = jax.value_and_grad(loss_fn)
        for batch in batches:
            loss, grads = grad_fn(params, batch)
            params = apply(params, grads)
            pbar.set_postfix(loss=float(loss))  # expect: SL103
        """,
        """
        from lib import eval_step
        def as_number(x): return float(x)
        def run(batches):
            for batch in batches:
                accuracy = as_number(eval_step(params, batch))  # expect: SL103
                if (best := accuracy) > 0.9:
                    print(best)
        """,
        """
        import jax
        from lib import train_step
        class Loop:
            def train_one(self, batch):
                self.state, metrics = train_step(self.state, batch)
                return metrics
            def report(self, metrics):
                self.history.append({k: v.item() for k, v in metrics.items()})  # expect: SL103
            def run(self, batches):
                for batch in batches:
                    metrics = self.train_one(batch)
                    self.report(metrics)
        """,
        """
        from lib import train_step, Metrics
        for batch in batches:
            state, loss = train_step(state, batch)
            metrics = Metrics(loss=loss)
            seen.append(float(metrics.loss))  # expect: SL103
        """,
        """
        from lib import train_step, log_cb
        for step, batch in enumerate(batches):
            state, (loss, aux) = train_step(state, batch)
            def report():
                log_cb(step, float(loss))  # expect: SL103
            report()
        """,
        """
        for batch in loader:
            loss = model(batch)
            loss.backward()
            total += loss.item()  # expect: SL103
            optimizer.step()
        """,
        """
        import sightline as sl
        from lib import train_step
        for batch in batches:
            state, loss = train_step(state, batch)
            sl.scalar(loss=float(loss))  # expect: SL103
        """,
        """
        def train_step(self, batch):
            self.state, metrics = self.p_step(self.state, batch)
            return float(metrics["loss"])  # expect: SL103
        def train_step_of_mine(state, batch):
            from lib import update
            state, loss = update(state, batch)
            return state, float(loss)
        """,
        """
        from lib import make_train_step, build_update, create_eval_step, get_step_fn
        go = make_train_step(model)
        look = create_eval_step(model)
        fast = get_step_fn(model)
        class Trainer:
            def __init__(self):
                self.gradients, self.apply = build_update(self.model)
            def phase(self, state, batch):
                total = self.gradients(state, batch)
                return self.apply(state, total)
            def run(self, state, data):
                for batch in data:
                    state, out = self.phase(state, batch)
                    history.append(float(out["loss"]))  # expect: SL103
        for x in data:
            state, out = go(state, x)
            print(out["loss"].item())  # expect: SL103
            metrics["acc"] = float(look(state, x))  # expect: SL103
            metrics["kl"] = float(fast(state, x))  # expect: SL103
        """,
        """
        import jax
        import sightline as sl
        from lib import Step, Update
        class Recorder:
            def on_step(self, step: Step):
                update = step.update
                sl.scalar(grad_norm=float(update.grad_norm))  # expect: SL103
            def on_update(self, update: Update, loss: "jax.Array"):
                self.log.info("%.3f", update.loss.item())  # expect: SL103
                print(float(loss))  # expect: SL103
        def record_warmup(*, loss: jax.Array, lr: float) -> None:
            sl.scalar(loss=float(loss), lr=float(lr))  # expect: SL103
        """,
    ],
)
def test_a_read_in_the_loop_of_the_step_is_found(code: str) -> None:
    """However the step is compiled or called, and through helpers, methods, containers and comprehensions."""
    assert_as_marked(code)


@pytest.mark.parametrize(
    "code",
    [
        """
        from lib import train_step
        for batch in batches:
            state, loss = train_step(state, batch)
        print(float(loss))
        """,
        """
        from lib import train_step
        for batch in batches:
            lr = float(cfg.lr)
            state, loss = train_step(state, batch, float("3e-4"), lr)
            n = float(loss.shape[0]) + float(len(batch))
        """,
        """
        import jax
        @jax.jit
        def train_step(state, batch):
            for each in batch:
                state = state + float(each)
            return state
        """,
        """
        from lib import train_step
        for batch in batches:
            state, loss = train_step(state, batch)
            if float(loss) != float(loss):
                raise FloatingPointError("nan")
            assert loss.item() < 1e6
        """,
        """
        import numpy as np
        rows = np.array([[1.0]])
        for row in rows:
            values.append(row.item())
            values.append(float(np.mean(row)))
        """,
        """
        import jax, time
        def bench(f, x):
            g = jax.jit(f)
            for _ in range(10):
                t = time.perf_counter()
                jax.block_until_ready(g(x))
                times.append(time.perf_counter() - t)
        """,
        """
        import jax
        from lib import train_step
        for step, batch in enumerate(batches):
            state, loss = train_step(state, batch)
            if step == 0:
                jax.block_until_ready(loss)
            if step % 1000 == 0:
                jax.block_until_ready(state)
                save_checkpoint(state)
        """,
        """
        import jax
        fit = jax.jit(solve)
        results = []
        for penalty in penalties:
            results.append(float(fit(penalty)))
        """,
        """
        for _ in range(10):
            observation, reward, done, info = env.step(action)
            total += float(reward)
            pbar.update(1)
            config.update({"lr": float(x)})
        """,
        """
        from lib import make_env_step, make_dataset, build_report, make_update
        advance = make_env_step(env)
        read, write = make_dataset(path)
        updates = make_update(change)
        for batch in batches:
            print(float(advance(batch)), float(read(batch)), updates.value)
            metrics["n"] = float(updates.count)
        """,
        """
        import jax
        import sightline as sl
        from lib import Step, Update
        class Recorder:
            def on_step(self, step: Step):
                sl.scalar(tokens=float(step.tokens), reward=float(step.rollout.rewards.mean()))
                self.seen.update(float(x) for x in step.rewards)
            def on_evaluation(self, step: Step):
                print(float(step.update.loss))
        def log_final_loss(loss: jax.Array):
            print(float(loss))
        def log_prob(x: jax.Array):
            return float(x)
        """,
        """
        from lib import Update
        def on_update(update: Update, context):
            print(float(update.message.text))
        """,
        """
        from lib import train_step
        for batch in batches:
            state, m = train_step(state, batch)
            difficulty = float(m["success"]) * 0.1
            batch = loader.sample(difficulty=difficulty)
            buffer.beta = float(m["td"].mean())
        """,
    ],
)
def test_a_read_that_holds_nobody_or_decides_something_is_left_alone(code: str) -> None:
    """After the loop, of settings and host arrays, for a decision, for a checkpoint, in a benchmark."""
    assert_as_marked(code)


def test_the_call_to_write_instead_hands_over_the_array() -> None:
    """Under the key or name by which it was to be logged."""
    loop = "from lib import train_step\nimport jax\nfor b in bs:\n    s, m = train_step(s, b)\n    "
    assert instead(loop + 'log["train/loss"] = float(m["loss"])')[0].startswith(
        'sl.scalar("train/loss", m["loss"])'
    )
    assert instead(loop + 'seen.append(m["kl"].item())')[0].startswith('sl.scalar(kl=m["kl"])')
    assert instead(loop + "print(jax.device_get(m))")[0].startswith('sl.summary("m", m)')
    assert instead(loop + "m = jax.device_get(m)\n    log['loss'] = m['loss']")[0].startswith(
        "sl.scalar(**m)"
    )
    assert "timing.until(m)" in instead(loop + "jax.block_until_ready(m)")[0]
    metrics = loop.replace("s, m =", "s, metrics =")
    assert instead(metrics + "print(jax.device_get(metrics))")[0].startswith("sl.scalar(**metrics)")


@pytest.mark.parametrize(
    "code",
    [
        """
        from lib import train_step
        def one(state, batch):
            state, loss = train_step(state, batch)
            return state, float(loss)  # expect: SL103
        for batch in loader:
            state, loss = one(state, batch)
            losses.append(loss)
        """,
        """
        import jax
        class Trainer:
            def __init__(self):
                self.step = jax.jit(f)
            def one(self, batch):
                self.state, metrics = self.step(self.state, batch)
                return {name: float(value) for name, value in metrics.items()}  # expect: SL103
            def fit(self, loader):
                for batch in loader:
                    self.tracker.log(self.one(batch))
        """,
        """
        import jax
        from lib import train_step
        for batch in loader:
            state, metrics = train_step(state, batch)
            host = jax.tree.map(float, metrics)  # expect: SL103
            history.append(host)
        """,
        """
        from lib import train_step
        for step, batch in enumerate(loader):
            state, metrics = train_step(state, batch)
            log["tokens"] = int(metrics["tokens"])  # expect: SL103
        """,
    ],
)
def test_a_read_is_found_in_a_helper_of_the_loop_and_whichever_way_a_number_is_made(code: str) -> None:
    """The step and its read may stand in a function that the loop calls."""
    assert_as_marked(code)


def test_a_tree_of_numbers_is_recorded_as_the_tree_that_it_was() -> None:
    (said,) = instead(
        """
        import jax
        from lib import train_step
        for batch in loader:
            state, metrics = train_step(state, batch)
            history.append(jax.tree.map(float, metrics))
        """
    )
    assert said.startswith("sl.scalar(**metrics)")


@pytest.mark.parametrize(
    "code",
    [
        """
        from lib import train_step
        def evaluate(state, batch):
            state, loss = train_step(state, batch)
            return float(loss)
        print(evaluate(state, batch))
        """,
        """
        class Curriculum:
            def update(self, batch):
                self.seen += 1
        curriculum = Curriculum()
        for batch in loader:
            level = curriculum.update(batch)
            metrics["level"] = float(level)
        """,
    ],
)
def test_a_helper_outside_of_a_loop_and_a_method_of_the_host_are_no_steps(code: str) -> None:
    assert_as_marked(code)


def test_what_a_checkpoint_is_kept_by_is_no_metric_until_it_is_logged_too() -> None:
    """Orbax's `metrics=`, and what stands in a checkpoint beside the parameters."""
    assert_as_marked(
        """
        import orbax.checkpoint as ocp
        from lib import train_step
        for step, batch in enumerate(loader):
            state, aux = train_step(state, batch)
            manager.save(step, args=ocp.args.StandardSave(state), metrics={"loss": float(aux["loss"])})
            metrics = {"eval/loss": aux["loss"].item()}
            ocp.CheckpointManager(path).save(step, state, metrics=metrics)
            logged = {"eval/loss": aux["loss"].item()}  # expect: SL103
            manager.save(step, state, metrics=logged)
            log_metrics(logged)
        """
    )


def test_an_accelerator_that_is_told_the_loss_is_none() -> None:
    """What it gathers is gathered, whoever calls `backward`."""
    assert_as_marked(
        """
        from accelerate import Accelerator
        def train(model, loader):
            accelerator = Accelerator()
            for batch in loader:
                loss = model(batch)
                accelerator.backward(loss)
                metrics["loss"] = accelerator.gather(loss).mean()  # expect: SL102
        """
    )


def test_a_wait_in_one_turn_alone_is_left_alone_whatever_else_its_condition_says() -> None:
    """As before a dump of what the first step has compiled."""
    assert_as_marked(
        """
        import jax
        from lib import train_step
        for step in range(first, last):
            state, metrics = train_step(state, batch)
            if config.dump and step == first:
                jax.block_until_ready(state)
            if config.dump or step == first:
                jax.block_until_ready(state)  # expect: SL103
        """
    )


def test_a_wrapper_that_steps_what_it_wraps_makes_no_step_of_it() -> None:
    """As those of environments do; a trainer's ``super().training_step()`` is one."""
    assert_as_marked(
        """
        import gym
        import torch
        class Recorded(gym.Wrapper):
            def step(self, action):
                observation, reward, done, info = super().step(action)
                return observation, reward, done, info
        envs = Recorded(make(args))
        for step in range(n):
            observation, reward, done, info = envs.step(action)
            writer.add_scalar("charts/return", float(info["r"]), step)  # expect: SL101
        class Trainer(Base):
            def training_step(self, model, inputs):
                loss = super().training_step(model, inputs)
                self.metrics["loss"] = loss.item()  # expect: SL103
                return loss
        """
    )


def test_an_array_of_pytorch_is_summed_up_as_the_array() -> None:
    """It has no ``item``."""
    (found,) = instead(
        """
        import torch
        for batch in loader:
            values = train_step(batch)
            metrics["values"] = values.cpu().numpy()
        """
    )
    assert found.startswith('sl.summary("values", values.cpu().numpy())  # PyTorch')
