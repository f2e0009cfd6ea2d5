"""All papers' claims beside what was measured, in one file.

Every paper runs in a process of its own, so that one which fails, or fills the memory,
takes no other with it.
"""

import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kanjax import files, papers, versions

CLAIMS = "claims.json"


def reproduce_all(
    folder: pathlib.Path,
    *,
    scale: papers.Scale = "default",
    resume: bool = False,
    slugs: Iterable[str] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run reproductions one after the other and write ``claims.json`` after each.

    Args:
        folder: gets ``claims.json``, and a folder a paper; made if absent.
        scale: as for :func:`kanjax.papers.reproduce`.
        resume: keep what ``claims.json`` has of this scale, and run what it lacks.
        slugs: the papers; all of them if None.
        tell: gets a line for each paper.

    Returns:
        What ``claims.json`` holds: by slug the claims, seconds, versions, and the last
        line of what a run that failed wrote.

    Raises:
        ValueError: if there is no paper of a slug.
    """
    chosen = papers.PAPERS if slugs is None else [papers.find(slug) for slug in slugs]
    if reason := files.why_not_writable(folder):
        raise ValueError(f"{folder} cannot be written: {reason}.")
    folder.mkdir(parents=True, exist_ok=True)
    results = read_claims(folder / CLAIMS) if resume else {}
    for paper in chosen:
        known = results.get(paper.slug, {})
        if known.get("scale") == scale and not known.get("error"):
            tell(f"{paper.slug}: kept from before")
            continue
        results[paper.slug] = _run(paper, scale, folder / paper.slug)
        files.write_json(folder / CLAIMS, results)
        tell(f"{paper.slug}: {_verdict(results[paper.slug])}")
    return results


def read_claims(path: pathlib.Path) -> dict[str, Any]:
    """Read a ``claims.json``; nothing if there is none.

    Args:
        path: the file.

    Raises:
        ValueError: if the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. Remove it.") from None


def table(results: Mapping[str, Any]) -> str:
    """Render claims beside measurements as a Markdown table.

    Args:
        results: what :func:`reproduce_all` returns.
    """
    lines = ["| paper | claim | measured | holds |", "| --- | --- | --- | --- |"]
    for slug, result in results.items():
        for claim in result["claims"]:
            cells = (slug, claim["text"], claim["measured"])
            verdict = "yes" if claim["holds"] else "**no**"
            row = " | ".join(cell.replace("|", r"\|") for cell in (*cells, verdict))
            lines.append(f"| {row} |")
    return "\n".join(lines)


def _run(
    paper: papers.Paper, scale: papers.Scale, folder: pathlib.Path
) -> dict[str, Any]:
    """Run one paper in a new process; 0 and 1 tell whether all of its claims hold."""
    command = [sys.executable, "-m", "kanjax.cli", "reproduce", paper.slug]
    command += ["--out", str(folder)]
    command += [] if scale == "default" else [f"--{scale}"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    result: dict[str, Any] = {
        "room": paper.room,
        "scale": scale,
        "seconds": round(time.perf_counter() - began, 1),
        "versions": versions.installed(),
        "claims": [],
        "error": "",
    }
    stored = folder / papers.RESULT
    if done.returncode in (0, 1) and stored.exists():
        written = json.loads(stored.read_text(encoding="utf-8"))
        return {**result, "claims": written["claims"]}
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return {**result, "error": lines[-1]}


def _verdict(result: Mapping[str, Any]) -> str:
    if result["error"]:
        return f"failed: {result['error']}"
    held = sum(claim["holds"] for claim in result["claims"])
    return f"{held} of {len(result['claims'])} claims hold, {result['seconds']:.0f} s"
