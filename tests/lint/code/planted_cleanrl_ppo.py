"""PPO in one file in the manner of CleanRL, in JAX: writer, SPS, episodic statistics."""

import os
import random
import time
from dataclasses import dataclass

import flax
import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax.training.train_state import TrainState
from torch.utils.tensorboard import SummaryWriter


@dataclass
class Args:
    exp_name: str = os.path.basename(__file__)[: -len(".py")]
    seed: int = 1
    track: bool = False
    total_timesteps: int = 10_000_000
    learning_rate: float = 2.5e-4
    num_envs: int = 8
    num_steps: int = 128
    update_epochs: int = 4


@flax.struct.dataclass
class Storage:
    obs: jnp.array
    actions: jnp.array
    rewards: jnp.array


if __name__ == "__main__":
    args = tyro.cli(Args)
    run_name = f"{args.exp_name}__{args.seed}__{int(time.time())}"
    if args.track:
        import wandb

        wandb.init(project="cleanRL", sync_tensorboard=True, config=vars(args), name=run_name, save_code=True)
    writer = SummaryWriter(f"runs/{run_name}")
    random.seed(args.seed)
    np.random.seed(args.seed)
    key = jax.random.PRNGKey(args.seed)
    envs = gym.vector.make("CartPole-v1", num_envs=args.num_envs)
    network = make_network(envs.single_action_space.n)
    tx = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(args.learning_rate))
    agent_state = TrainState.create(apply_fn=network.apply, params=network.init(key, envs.reset()[0]), tx=tx)

    @jax.jit
    def get_action_and_value(agent_state, next_obs, key):
        logits, value = network.apply(agent_state.params, next_obs)
        key, subkey = jax.random.split(key)
        return jax.random.categorical(subkey, logits), value.squeeze(), key

    def ppo_loss(params, batch):
        logits, value = network.apply(params, batch.obs)
        pg_loss = -jnp.log(jax.nn.softmax(logits)).mean()
        v_loss = 0.5 * ((value - batch.rewards) ** 2).mean()
        return pg_loss + 0.5 * v_loss, (pg_loss, v_loss)

    @jax.jit
    def update_ppo(agent_state, storage, key):
        (loss, (pg_loss, v_loss)), grads = jax.value_and_grad(ppo_loss, has_aux=True)(agent_state.params, storage)
        return agent_state.apply_gradients(grads=grads), loss, pg_loss, v_loss, key

    global_step = 0
    start_time = time.time()
    next_obs, _ = envs.reset()
    num_updates = args.total_timesteps // (args.num_envs * args.num_steps)
    for update in range(1, num_updates + 1):
        update_time_start = time.time()
        rollout = []
        for step in range(args.num_steps):
            global_step += args.num_envs
            action, value, key = get_action_and_value(agent_state, next_obs, key)
            next_obs, reward, terminated, truncated, infos = envs.step(np.array(action))
            rollout.append((next_obs, np.array(action), reward))
            for info in infos.get("final_info", ()):
                if info and "episode" in info:
                    print(f"global_step={global_step}, episodic_return={info['episode']['r']}")
                    writer.add_scalar("charts/episodic_return", info["episode"]["r"], global_step)  # expect: SL101
        storage = Storage(*map(np.stack, zip(*rollout)))
        for _ in range(args.update_epochs):
            agent_state, loss, pg_loss, v_loss, key = update_ppo(agent_state, storage, key)

        writer.add_scalar("losses/value_loss", v_loss.item(), global_step)  # expect: SL101, SL103
        writer.add_scalar("losses/policy_loss", float(pg_loss), global_step)  # expect: SL101, SL103
        writer.add_scalar("losses/loss", np.asarray(loss).mean(), global_step)  # expect: SL101, SL103
        sps = int(global_step / (time.time() - start_time))  # expect: SL104
        print("SPS:", sps)
        writer.add_scalar("charts/SPS", sps, global_step)  # expect: SL101
        writer.add_scalar(  # expect: SL101
            "charts/SPS_update",
            int(args.num_envs * args.num_steps / (time.time() - update_time_start)),  # expect: SL104
            global_step,
        )
    envs.close()
    writer.close()
