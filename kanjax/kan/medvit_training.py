"""Training of MedViTV2 on images from files, and its test.

Manzari, Asgariandehkordi, Koleilat, Xiao, Rivaz (2025), arXiv 2502.13693.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kanjax import data as kanjax_data
from kanjax import files, model, nn, training
from kanjax.kan import medvit


def train_on_images(
    data: pathlib.Path,
    out: pathlib.Path,
    *,
    size: str | medvit.Size = "tiny",
    image_size: int = 224,
    kernel: int = 7,
    steps: int = 1000,
    batch_size: int = 32,
    step_size: float = 1e-4,
    evaluate_every: int = 50,
    resume: bool = False,
    progress: bool = False,
) -> training.Fit:
    """Train MedViTV2 on a folder of images or a MedMNIST file, and test what is best.

    Images of a folder are cut to squares; a MedMNIST file's are enlarged within the
    network, a batch at a time.

    Args:
        data: a folder with a folder for each class, or a MedMNIST file.
        out: a folder for the checkpoint, the best parameters with their state as
            ``network``, and ``metrics.json``: the accuracy and the log loss on test
            images, the accuracy on those of each class.
        size: of the network, as :func:`kanjax.kan.medvit.medvit` takes it.
        image_size: the edge of what the network sees, in pixels.
        kernel: the edge of attention's windows.
        steps: of AdamW, with a rate that falls as a cosine.
        batch_size: images of a step, and of a block of the test.
        step_size: the rate at the start.
        evaluate_every: steps between evaluations on validation images.
        resume: whether to go on from the checkpoint in ``out``.
        progress: whether to show a bar, and the result at last.

    Raises:
        ValueError: if the data cannot be read or are not flat images with one class
            each, for sizes that do not fit, or a checkpoint of other settings.
    """
    split, names = _read(data, image_size)
    edge, channels = split.train.x.shape[-2:]
    net = medvit.medvit(
        size, len(names), channels=channels, image_size=image_size, kernel=kernel
    )
    if edge != image_size:
        shape = (image_size, image_size)
        net = model.Sequential((nn.Resize(shape), *net.layers))
    settings = {"size": str(size), "image_size": image_size, "batch_size": batch_size}
    schedule = optax.cosine_decay_schedule(step_size, steps)
    fit = training.fit(
        training.classification(net.apply),
        jax.jit(net.init)(jax.random.key(0)),
        split.train,
        state=net.initial_state(),
        key=jax.random.key(1),
        optimizer=optax.adamw(schedule, weight_decay=0.05),
        steps=steps,
        batch_size=min(batch_size, len(split.train.y)),
        validation=split.validation,
        evaluate_every=min(evaluate_every, steps),
        checkpoint=training.Checkpoint(
            out / "checkpoint", config=settings | {"steps": steps}, resume=resume
        ),
        progress=progress,
    )
    plain, params = nn.fold_batch_norm(net, fit.params, fit.state)
    # In blocks, in which the memory of the test images' attention is bounded.
    logits = jax.jit(
        lambda p, x: jax.lax.map(
            lambda image: plain.apply(p, image[None])[0], x, batch_size=batch_size
        )
    )(params, split.test.x)
    hits = np.asarray(jnp.argmax(logits, axis=-1)) == np.asarray(split.test.y)
    metrics = {
        "classes": names,
        "accuracy": hits.mean(),
        "accuracy_of_classes": {
            name: hits[np.asarray(split.test.y) == i].mean()
            for i, name in enumerate(names)
        },
        "log_loss": training.metrics.negative_log_likelihood(
            jnp.asarray(split.test.y), jax.nn.log_softmax(logits)
        ),
        "best_step": fit.best_step,
        "parameters": model.count_parameters(fit.params),
    }
    training.checkpoints.save(
        out / "network", {"params": fit.params, "state": fit.state}, metadata=settings
    )
    files.write_json(out / "metrics.json", metrics)
    if progress:
        print(
            f"{out}: test accuracy {metrics['accuracy']:.3f} on {len(hits)} images of "
            f"{len(names)} classes, after {int(fit.best_step)} steps"
        )
    return fit


def _read(data: pathlib.Path, image_size: int) -> tuple[kanjax_data.Split, list[str]]:
    if data.is_dir():
        images = kanjax_data.read_image_folder(data, size=(image_size, image_size))
        return images.split(jax.random.key(0)), list(images.target_names)
    split = kanjax_data.read_medmnist(data)
    if split.train.x.ndim != 4 or split.train.y.ndim != 1:
        raise kanjax_data.DataError(
            f"{str(data)!r} has images {split.train.x.shape[1:]} and labels "
            f"{split.train.y.shape[1:]}; expected flat images with one class each"
        )
    return split, [str(i) for i in range(int(split.train.y.max()) + 1)]
