"""A git server that speaks ssh: one key is let in, and everything it serves is below one folder. By asyncssh."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

USER = "git"


@dataclass(frozen=True)
class GitServer:
    """Where it listens, and what a client needs to know."""

    host: str
    port: int
    private_key: str
    host_key: str

    @property
    def known_hosts(self) -> str:
        return f"[{self.host}]:{self.port} {self.host_key}\n"

    def address(self, repository: str) -> str:
        return f"ssh://{USER}@{self.host}:{self.port}/{repository}"


@contextmanager
def git_server(folder: Path, host: str = "127.0.0.1") -> Iterator[GitServer]:
    """Serve the repositories in a folder."""
    theirs, ours = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
        program, path = shlex.split(process.command or "none none")
        if program != "git-upload-pack":
            process.exit(1)
            return
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        child = await asyncio.create_subprocess_exec(program, folder / path.strip("/"), **pipes)
        await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
        process.exit(await child.wait())
        await process.wait_closed()  # for what is still to be written; asyncssh leaves it to the handler

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            host, 0, server_host_keys=[theirs], process_factory=serve, encoding=None,
            authorized_client_keys=asyncssh.import_authorized_keys(ours.export_public_key().decode()),
        )  # fmt: skip

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
    try:
        yield GitServer(
            host,
            acceptor.get_port(),
            ours.export_private_key().decode(),
            " ".join(theirs.export_public_key().decode().split()[:2]),
        )
    finally:
        acceptor.close()
        asyncio.run_coroutine_threadsafe(acceptor.wait_closed(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)


def make_repository(bare: Path, files: dict[str, str]) -> str:
    """Make a repository with one commit; return the commit."""

    def git(*words: str) -> str:
        author = ("-c", "user.name=A. Author", "-c", "user.email=author@example.org")
        return subprocess.run(["git", *author, *words], check=True, capture_output=True, text=True, timeout=60).stdout

    work = bare.with_name(f"{bare.name}.work")
    git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    git("clone", "--quiet", str(bare), str(work))
    for name, text in files.items():
        (work / name).write_text(text)
    git("-C", str(work), "add", "--all")
    git("-C", str(work), "commit", "--quiet", "--message", "Begin")
    git("-C", str(work), "push", "--quiet", "origin", "HEAD:main")
    return git("-C", str(work), "rev-parse", "HEAD").strip()
