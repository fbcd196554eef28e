"""Run another program to its end: argv lists only, a deadline always, its own words in the error.

Outside system: the programs themselves (`ip`, `nft`, `openssl`, `ctr`, `go`, `apt-get`, kind and its like).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.errors import ClusterError

TAIL_CHARS = 2_000


def search_path(environ: Mapping[str, str]) -> str:
    """Return PATH with the administrator's folders: `su` leaves them out, and `ip`, `nft` and `runc` live there."""
    return f"{environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"


def run(
    *argv: str | Path,
    timeout_s: float = 120.0,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    error: type[ClusterError] = ClusterError,
    hint: str | None = None,
) -> str:
    """Run `argv` and return its standard output.

    Raises:
        ClusterError: (or the class given) It is missing, fails, or takes longer than `timeout_s`.
    """
    words = [str(word) for word in argv]
    variables = dict(os.environ if env is None else env)
    variables["PATH"] = search_path(variables)
    try:
        done = subprocess.run(
            words,
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=variables,
            cwd=cwd,
            check=False,
        )
    except FileNotFoundError as missing:
        raise error(f"{words[0]} is not installed", hint=hint or f"apt-get install {words[0]}") from missing
    except subprocess.TimeoutExpired as late:
        raise error(f"{_shown(words)} did not end within {timeout_s:.0f} s", hint=hint) from late
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-TAIL_CHARS:]
        raise error(f"{_shown(words)} ended with {done.returncode}: {said}", hint=hint)
    return done.stdout


def works(*argv: str | Path, timeout_s: float = 20.0) -> bool:
    """Return whether `argv` is there and ends well."""
    try:
        run(*argv, timeout_s=timeout_s)
    except ClusterError:
        return False
    return True


def _shown(words: Sequence[str]) -> str:
    text = " ".join(words)
    return text if len(text) < 160 else f"{text[:157]}..."
