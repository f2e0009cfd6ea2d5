"""The cache of compiled programs: where it is, and who turns it on."""

import os

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import compilation_cache as jax_cache

from kanjax import cli, compilation_cache

OPTIONS = ("jax_compilation_cache_dir", *compilation_cache.OPTIONS)


@pytest.fixture
def restored():
    """Begin without the cache of the tests, and turn that on again."""
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    jax.config.update("jax_compilation_cache_dir", None)
    jax_cache.compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    jax_cache.compilation_cache.reset_cache()


def programs(root):
    return {path.name for path in root.rglob("*-cache")}


def test_programs_are_kept_where_the_user_says(restored, monkeypatch, tmp_path):
    monkeypatch.setenv("KANJAX_CACHE_DIR", str(tmp_path))
    cli.study._use_cache(no_cache=True)
    assert jax.config.jax_compilation_cache_dir is None
    old = tmp_path / "programs" / "jax-0.1" / "f-cache"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    cli.study._use_cache(no_cache=False)
    folder = compilation_cache.use()
    assert folder.parent == tmp_path / "programs" and f"jax-{jax.__version__}" in (
        folder.name
    )
    assert not old.exists()
    x = jnp.arange(3.0)
    jax.jit(lambda v: v * 2 + 1)(x).block_until_ready()
    kept = programs(folder)
    assert kept
    jax.clear_caches()
    events = []
    jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
    assert jax.jit(lambda v: v * 2 + 1)(x).tolist() == [1.0, 3.0, 5.0]
    assert "/jax/compilation_cache/cache_hits" in events and programs(folder) == kept


def test_other_flags_have_another_folder(restored, monkeypatch, tmp_path):
    monkeypatch.setenv("KANJAX_CACHE_DIR", str(tmp_path))
    first = compilation_cache.use()
    assert compilation_cache.use() == first
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    assert compilation_cache.use().parent == first.parent
    assert jax.config.jax_compilation_cache_dir != str(first)


def test_no_folder_no_cache(restored, monkeypatch, tmp_path):
    monkeypatch.setenv("KANJAX_CACHE_DIR", "")
    assert compilation_cache.use() is None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KANJAX_CACHE_DIR", str(tmp_path / "file"))
    assert compilation_cache.use() is None
    assert jax.config.jax_compilation_cache_dir is None
