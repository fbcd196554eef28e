"""One cluster, whichever provider makes it: the four things that people and tests ask for."""

from __future__ import annotations

from pathlib import Path

from cluster import docker, native, programs
from cluster.facts import Facts
from cluster.layout import Layout
from cluster.native import Say
from cluster.status import Status

PROVIDERS = (native.PROVIDER, *docker.MAKERS)


def up(layout: Layout, say: Say, provider: str | None = None) -> Status:
    """Make the cluster, or complete it; a running one keeps its provider.

    Raises:
        ClusterError: It cannot be made; the message says why and what to do.
    """
    chosen = provider or _provider(layout) or docker.available() or native.PROVIDER
    return native.up(layout, say) if chosen == native.PROVIDER else docker.up(layout, chosen, say)


def build(cache: Path, say: Say) -> Path:
    """Do the long part of a first `up` beforehand: install and build its programs; return the built ones' folder."""
    native.require_host()
    programs.ensure_debian(say)
    return programs.ensure_built(cache, say)


def down(layout: Layout) -> bool:
    """Remove the cluster and everything that belongs to it; return whether there was anything."""
    provider = _provider(layout) or native.PROVIDER
    return native.down(layout) if provider == native.PROVIDER else docker.down(layout, provider)


def status(layout: Layout) -> Status:
    """Return what runs, without changing anything."""
    provider = _provider(layout) or native.PROVIDER
    return native.status(layout) if provider == native.PROVIDER else docker.status(layout, provider)


def load_image(layout: Layout, archive: Path) -> list[str]:
    """Give the node an image from an archive (docker or OCI); return what was loaded."""
    provider = _provider(layout) or native.PROVIDER
    if provider == native.PROVIDER:
        return native.load_image(layout, archive)
    return docker.load_image(layout, provider, archive)


def _provider(layout: Layout) -> str | None:
    facts = Facts.read(layout.facts)
    return facts.provider if facts else None
