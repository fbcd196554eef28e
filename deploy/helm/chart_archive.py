"""A packaged chart, taken apart into a folder.

A chart holds files and folders and nothing else (`helm package` follows links), so each file is written here instead
of by `tarfile.extractall`: its `filter` came with Python 3.11.4, and Debian 12 has 3.11.2.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from deploy.errors import ChartError

HINT = "helm package FOLDER"


def unpack(archive: Path, folder: Path) -> None:
    """Write the files of a packaged chart into a folder, and nothing outside it.

    Args:
        archive: What `helm package` has made.
        folder: An empty folder. It holds part of the chart after an error.

    Raises:
        ChartError: It cannot be read, names a path outside the folder, or holds something else than files and folders.
    """
    try:
        # Decompressed whole, with its checksum: tarfile takes damaged bytes for the archive's end.
        content = gzip.decompress(archive.read_bytes())
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as packed:
            for member in packed:
                _write(packed, member, folder)
    except _HostileMemberError as error:
        raise ChartError(f"{archive} is not unpacked: {error}", hint=HINT) from error
    # ValueError: a name with a null character.
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        raise ChartError(f"{archive} is not a chart archive: {error}", hint=HINT) from error


class _HostileMemberError(Exception):
    pass


def _write(packed: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise _HostileMemberError(f"its member {member.name!r} is outside the chart's folder")
    if member.isdir():
        return
    content = packed.extractfile(member) if member.isfile() else None
    if content is None:
        raise _HostileMemberError(f"its member {member.name!r} is neither a file nor a folder")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.read())
