"""A container image of one static program, written as the archive that `ctr images import` takes.

Pure but for its output file. Only for the pause image: real images are built from `images/Dockerfile`.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path


def write(archive: Path, name: str, program: Path) -> None:
    """Write image `name`, whose entry point is a copy of `program`, into `archive`."""
    layer = _tar({program.name: program.read_bytes()}, mode=0o755)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {"config.json": json.dumps(config).encode(), "layer.tar": layer}
    archive.write_bytes(_tar(files | {"manifest.json": json.dumps(manifest).encode()}, mode=0o644))


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
