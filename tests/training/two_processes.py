"""One of two processes that train an ensemble together; run by test_sharding.py."""

import os
import sys


def train(batch):
    """Train on a mesh of all processes, or without one where ``batch`` is None."""
    import jax
    import jax.numpy as jnp

    from kanjax import training

    x = jax.random.normal(jax.random.key(0), (16, 2))
    data = jax.device_get((x, jnp.sin(x[:, :1])))
    keys = jax.random.split(jax.random.key(1), 2)
    params = {
        "hidden": jax.device_get(
            jax.vmap(lambda k: jax.random.normal(k, (2, 5)))(keys)
        ),
        "out": jax.device_get(jnp.ones((2, 5, 1)) / 5),
    }
    mesh = None if batch is None else training.member_mesh(batch=batch)
    fit = training.fit_ensemble(
        training.regression(lambda p, x: jnp.tanh(x @ p["hidden"]) @ p["out"]),
        params,
        data,
        optimizer="adam",
        learning_rate=1e-2,
        steps=12,
        batch_size=4,
        key=jax.random.key(2),
        validation=data,
        evaluate_every=5,
        mesh=mesh,
    )
    found = fit.params if mesh is None else training.sharding.gather(fit.params, mesh)
    return {**found, "loss": fit.history.loss, "score": fit.history.validation_loss}


def main(port, process, folder):
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import numpy as np

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=process)
    assert jax.device_count() == 2 and jax.local_device_count() == 1
    by_member = train(batch=1)
    by_example = train(batch=2)
    for name, leaf in by_member.items():
        np.testing.assert_allclose(by_example[name], leaf, rtol=1e-4, atol=1e-5)
    np.savez(os.path.join(folder, f"{process}.npz"), **by_member)
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
