"""Each benchmark runs at toy size and writes valid JSON."""

import importlib
import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from benchmarks import timing
from benchmarks.peers import client
from kanjax import hopfield


def run(name, folder, *options):
    out = folder / f"{name}.json"
    module = importlib.import_module(f"benchmarks.{name}")
    module.main(["--quick", "--out", str(out), *options])
    assert [path.name for path in folder.iterdir()] == [out.name]
    result = json.loads(out.read_text())
    assert result["benchmark"] == name
    assert result["environment"]["versions"]["jax"]
    return result


def test_kan_layer_compares_with_the_matrix_product(tmp_path):
    result = run("kan_layer", tmp_path)
    assert result["peers"] == {}
    assert result["network"]["times"]["kanjax"]["min_ms"] > 0
    for case in result["cases"]:
        assert case["times"]["matrix_product"]["min_ms"] > 0
        product = case["times_of_kanjax"]["matrix_product"]
        assert 1 / product == pytest.approx(case["kanjax_over_matrix_product"], rel=0.1)


def test_networks_solve_differential_equations(tmp_path):
    (row,) = run("pinn", tmp_path)["rows"]
    assert row["name"] == "poisson" and row["parameters"] == 501
    assert 0 < row["error"] < 1


def test_derivatives_beside_nested_ones(tmp_path):
    (row,) = run("derivatives", tmp_path, "--only", "burgers")["rows"]
    assert set(row["times"]) == {"kanjax", "nested_reverse", "nested_forward"}
    assert row["times_of_kanjax"]["min_ms"] > 0


def test_steps_of_burgers_without_peers(tmp_path):
    result = run("burgers", tmp_path, "--parts", "step")
    assert result["peers"] == {} and "solve" not in result
    assert result["step"]["times"]["kanjax"]["min_ms"] > 0


def test_a_transformer_block_beside_one_with_an_mlp(tmp_path):
    block = run("kat", tmp_path)["block"]
    for mode in ("forward", "step"):
        assert set(block[mode]["times"]) == {"kanjax", "kanjax_with_mlp"}
        assert block[mode]["times_of_kanjax"]["kanjax_with_mlp"] > 0


def test_convolutions_and_neighborhoods_beside_their_floors(tmp_path):
    result = run("kan_family", tmp_path)
    for mode in ("forward", "step"):
        for name in ("kan", "selectable"):
            ratios = result["convolution"][name][mode]["times_of_plain_convolution"]
            assert ratios[name] > 0
        held = result["attention"][mode]["temporary_mb"]
        assert held["neighborhoods"] < held["masked_full"]


def test_kernels_compare_with_what_they_cannot_do_without(tmp_path):
    (tmp_path / "pictures").mkdir()
    picture = tmp_path / "pictures" / "roof.png"
    (tmp_path / "results").mkdir()
    options = "--figure", str(picture), "--peer-python", sys.executable
    result = run("kernels", tmp_path / "results", *options)
    assert result["peers"]["flashkat"]["absent"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert result["device"]["platform"] == "cpu"
    assert all(limit > 0 for limit in result["limits"].values())
    for name in ("expansion_dot", "group_rational"):
        assert 0 < result["errors"][name]["float32"] < 1e-5
    for kind, first in (("splines", "matrix_product"), ("rationals", "gelu")):
        modes = [case["mode"] for case in result[kind]]
        assert modes == list(importlib.import_module("benchmarks.kernels").MODES[kind])
        for case in result[kind]:
            assert case["over_first"][first] == 1 and len(case["times"]) == 3


def test_the_fastest_tiles_are_kept(tmp_path):
    tiles = importlib.import_module("benchmarks.tiles")
    with pytest.raises(SystemExit, match="on an NVIDIA GPU"):
        tiles.main(["--out", str(tmp_path / "tiles.json")])

    def duration(out, name, shape, candidate):
        if out == "c":
            return math.inf
        rows, *_, stages = candidate
        return abs(rows - 64) + stages + (candidate[1:4] != (32, 128, 4))

    best = tiles.fastest(duration)
    assert set(map(tuple, best.values())) == {(64, 32, 128, 4, 2)}
    assert "t bfloat16 1024 64" in best and not any(k[0] == "c" for k in best)


def test_ensemble_reports_both_kinds_of_batches(tmp_path):
    result = run("ensemble", tmp_path)
    for kind in ("with_compilation", "compiled"):
        ratios = result["cases"][0][kind]["times_of_separate"]
        assert set(ratios) == {"per_member_batches", "shared_batches"}


def test_landscape_beside_its_floors(tmp_path):
    result = run("landscape", tmp_path)
    modes = {case["mode"]: case for case in result["cases"]}
    assert set(modes) == {"plane", "top5", "matching", "subspace"}
    assert min(modes["plane"]["per_point_over"].values()) > 0
    assert modes["top5"]["converged"] and len(modes["top5"]["residuals"]) == 5
    assert modes["matching"]["planted_recovered"]
    assert modes["subspace"]["fastfood_over_full"] > 0


def test_ntk_times_every_kind_of_kernel(tmp_path):
    result = run("ntk", tmp_path, "--parts", "times", "auto")
    kinds = [name.split()[0] for name in result["cases"]]
    assert kinds == ["dense", "myrtle", "mlp_trace", "resnet_full"]
    for case in result["cases"].values():
        assert case["times"]["kanjax"]["min_ms"] > 0
    (auto,) = result["auto"]
    assert auto["auto_over_best"] > 0


def test_network_kernels_beside_their_floors(tmp_path):
    result = run("network_kernels", tmp_path)
    ratios = result["random_features"]["over_floor"]
    assert set(ratios) == {"relu_features", "exponential_features"}
    assert all(ratio > 0 for ratio in ratios.values())
    assert result["deep_limit"]["table"]["min_ms"] > 0
    machine = result["kernel_machine"]
    assert machine["rmse"] > 0 and machine["exact_process"]["rmse"] > 0


def test_per_sample_gradients_and_similarities_beside_their_floors(tmp_path):
    result = run("representation", tmp_path)
    of = result["per_sample"]
    assert set(of["times"]) == {"in_blocks", "at_once", "fisher_in_blocks"}
    assert of["in_blocks_over_at_once"] > 0 and of["fisher_over_per_sample"] > 0
    assert of["temporary_mb"]["in_blocks"] <= of["temporary_mb"]["at_once"]
    assert result["cka"]["times_of_kanjax"]["numpy_pair_by_pair"] > 0


def test_hopfield_reports_layer_sweeps_and_large_memory(tmp_path):
    result = run("hopfield", tmp_path)
    assert result["peers"] == {}
    for mode in ("forward", "forward_backward"):
        assert result["layer"][mode]["times"]["kanjax"]["min_ms"] > 0
    loops = {"numpy_over_sites_and_chains", "numpy_over_sites"}
    assert loops < set(result["glauber"]["times_of_kanjax"])
    for states in ("states_1", "states_32"):
        assert result["large_memory"][states]["times_of_two_products"]["kanjax"] > 0


def test_spin_glasses_compare_with_loops_that_do_the_same(tmp_path):
    result = run("spin_glasses", tmp_path)
    for case in result["sweeps"]:
        assert all(ratio > 0 for ratio in case["times_of_kanjax"].values())
    assert result["phase_diagrams"]["order_4"]["again_s"] > 0
    module = importlib.import_module("benchmarks.spin_glasses")
    stored = hopfield.random_patterns(jax.random.key(0), 5, 9)
    X, state = np.asarray(stored, np.float64), np.ones((1, 9))
    fields = hopfield.PSpin(stored, module.ORDER).fields(jnp.ones(9))
    rest = state @ X.T - state[:, :1] * X[:, 0]
    loop = (module.triples(rest, 9) @ X[:, 0]).item()
    assert loop == pytest.approx(float(fields[0]), rel=1e-5)


def test_symbolic_recovers_and_times_parts(tmp_path):
    result = run("symbolic", tmp_path)
    assert result["peers"] == {} and result["summary"]["kanjax"]["of"] == 1
    (one,) = result["formulas"]
    assert not one["kanjax"]["recovered"] and one["kanjax"]["seconds"] > 0
    assert set(result["parts"]["times"]) == {"one_edge", "update_grid", "refine"}
    assert result["parts"]["best"] == "sin" and result["parts"]["r2"] > 0.9999


def test_a_formula_is_recovered_where_it_is_exact_inside_and_outside():
    formulas = importlib.import_module("benchmarks.formulas")
    assert len(formulas.FORMULAS) >= 12
    for one in formulas.FORMULAS:
        names = [f"x{i + 1}" for i in range(one.inputs)]
        exact = sympy.sympify(one.text)
        assert formulas.judge(one, exact, names)["recovered"], one
        assert not formulas.judge(one, exact * 1.01, names)["recovered"], one


def test_import_of_kanjax_leaves_the_heavy_libraries_alone(tmp_path):
    result = run("import_time", tmp_path)
    new = set(result["loaded_by_kanjax"]) - set(result["loaded_by_jax"])
    assert not new & {"flax", "equinox", "sklearn", "pandas", "matplotlib"}


def test_memory_counts_what_a_process_holds(tmp_path):
    memory = importlib.import_module("benchmarks.memory")
    hold = "import time; held = bytearray(10**8); time.sleep(0.3)"
    measured = memory.run([sys.executable, "-c", hold], tmp_path / "log.txt")
    assert measured["peak_process_gb"] > 0.1
    assert measured["peak_sampled_gb"] is None or measured["peak_sampled_gb"] > 0.1
    fail = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    with pytest.raises(SystemExit, match="no such thing"):
        memory.run(fail, tmp_path / "log.txt")


def test_memory_writes_a_table_with_its_target(tmp_path):
    memory = importlib.import_module("benchmarks.memory")
    memory.write_table(tmp_path / "table.csv", 3)
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert lines[0].endswith(",x19,y") and len(lines) == 4


def test_a_peer_that_cannot_be_imported_is_absent(tmp_path):
    (tmp_path / "efficient_kan.py").write_text("raise ImportError('not today')\n")
    with client.start("efficient_kan", sys.executable, str(tmp_path)) as peer:
        assert peer.absent == "not today"


def test_a_peer_whose_process_ends_is_absent(tmp_path):
    (tmp_path / "efficient_kan.py").write_text("raise SystemExit(3)\n")
    with client.start("efficient_kan", sys.executable, str(tmp_path)) as peer:
        assert peer.absent is not None and "exit code 3" in peer.absent


def test_candidates_take_turns():
    order = []

    def block(name):
        order.append(name)
        return [0.002, 0.001]

    times = timing.interleave({"a": lambda: block("a"), "b": lambda: block("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert times["a"] == {"min_ms": 1.0, "median_ms": 1.5, "repeats": 4}


def test_a_result_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "result.json"
    timing.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        timing.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
