import jax
import jax.numpy as jnp
import optax
import pytest

from kanjax import training


@pytest.mark.parametrize("name", training.OPTIMIZERS)
def test_every_name_is_the_optax_optimizer_of_that_name(name):
    made = training.optimizer(name, 0.1)
    reference = optax.with_extra_args_support(getattr(optax, name)(0.1))
    params = jnp.array([[1.0, -2.0]])
    f = lambda p: jnp.sum((p - 0.5) ** 2)  # noqa: E731
    value, grad = jax.value_and_grad(f)(params)
    extra = {"value": value, "grad": grad, "value_fn": f}
    updates = [
        tx.update(grad, tx.init(params), params, **extra)[0] for tx in (made, reference)
    ]
    assert jnp.array_equal(*updates)
    assert jnp.isfinite(updates[0]).all()


def test_equal_arguments_give_one_object():
    assert training.optimizer("adam", 0.1) is training.optimizer("adam", 0.1)
    assert training.optimizer("adam", 0.1) is not training.optimizer("adam", 0.2)


def test_options_and_schedules_reach_optax():
    schedule = optax.linear_schedule(0.0, 1.0, 2)
    tx = training.optimizer("sgd", schedule, momentum=0.5)
    state = tx.init(jnp.ones(()))
    update, state = tx.update(jnp.ones(()), state)
    assert update == 0
    update, _ = tx.update(jnp.ones(()), state)
    assert update == -0.5 * 1.5


@pytest.mark.parametrize(
    ("name", "rate", "message"),
    [
        ("adm", 0.1, "'adm' is unknown. Did you mean 'adam'"),
        ("L-BFGS", 0.1, "Did you mean 'lbfgs'"),
        ("zzzzzz", 0.1, "is unknown. Known: ada"),
        ("adam", None, "'adam' needs a learning_rate"),
        ("adam", 0.0, "learning_rate is 0.0; it must be a positive"),
        ("adam", float("nan"), "learning_rate is nan"),
    ],
)
def test_bad_names_and_rates(name, rate, message):
    with pytest.raises(ValueError, match=message):
        training.optimizer(name, rate)
