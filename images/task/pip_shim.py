"""Answers the agent's pip calls in a task pod where nothing has to be installed, and passes the others to uv or pip.

Before every step the agent runs pip six times: upgrade pip, list, install Cython, install the step's requirements, list
again, twice. Each costs 0.5 s and more, and the first asks the package index. In an image that already holds what a
step pins, all of them are looked up in the installed packages' records without a network, in little more than the time
that Python itself takes to start: hence nothing is imported here that is not needed for most calls.

It must never answer what it does not understand: any option or requirement it does not know goes to pip. What has to be
installed is installed by uv, which is several times faster; where uv does not know an option, a configuration file of
pip's, or a package, pip is asked. With a folder in `CLEARML_PODS_PACKAGES`, a volume that pods share, each package is
fetched and unpacked once, and the packages that a step pins are installed once (`kept_packages.py`).
Standard library and `packaging` only. Outside systems: uv, pip.
"""

from __future__ import annotations

import operator
import os
import sys

HARMLESS = {
    "--upgrade",
    "-U",
    "--disable-pip-version-check",
    "--quiet",
    "-q",
    "--no-cache-dir",
    "--use-deprecated=legacy-resolver",
}
"""Options that change nothing when nothing has to be installed. Here, "upgrade" means: what satisfies the request."""

SOURCES = {"--index-url", "-i", "--extra-index-url", "--find-links", "-f", "--trusted-host"}
"""Options with a value that say where a package would come from."""

HABITS = {"Cython"}
"""What the agent installs on its own account, by name on the command line, for sources that pip builds in an
environment of their own anyway. A step that lists it in its requirements means it."""

TOOLS = {"pip", "setuptools", "wheel", "distribute"}
"""What `pip freeze` leaves out, unless it is told `--all`."""

PIP = (sys.executable, "-m", "pip")
UV = "/opt/agent/bin/uv"
UV_TIMEOUT_S = 1_800
CACHE = "CLEARML_PODS_PACKAGES"
"""Names the folder, shared by pods, for what was fetched and installed; without one, nothing is kept."""

FETCHED_MONTHS = 2
"""uv gets a new cache each month, and this many are kept: one cache would only grow."""

UV_WORDS = {"--trusted-host": "--allow-insecure-host"}
"""What uv calls a pip option otherwise."""

PIP_FILES = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
"""Where pip is told of a company's index; uv does not read them."""

UV_VARIABLES = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
}
"""What pip reads of the environment → how uv calls it."""

COMPARISONS = {"==": operator.eq, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


class AskPip(Exception):  # noqa: N818 - a decision, no error
    """Only pip can answer this."""


def answer(arguments: list[str]) -> str:
    """Return what to print for a pip command line that needs no pip.

    Raises:
        AskPip: It does.
    """
    words = [word for word in arguments if word != "--disable-pip-version-check"]
    if words[:1] == ["freeze"] and set(words[1:]) <= {"--all"}:
        return freeze(everything="--all" in words)
    if words[:1] == ["install"]:
        named, files = split(words[1:])
        wanted = [text for text in named if text not in HABITS]
        wanted += [text for file in files for text in from_file(file)]
        records = packages(sys.path) if wanted else {}
        if all(is_satisfied(text, records) for text in wanted):
            return f"{len(wanted)} requirement(s) already satisfied by this image\n"
    raise AskPip


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the requirements and the requirements files of an `install` command line."""
    named, files = [], []
    rest = iter(words)
    for word in rest:
        if word in ("-r", "--requirement"):
            files.append(next(rest, ""))
        elif word in SOURCES:
            next(rest, None)
        elif not word.startswith("-"):
            named.append(word)
        elif word not in HARMLESS and word.partition("=")[0] not in SOURCES:
            raise AskPip
    return named, files


def from_file(path: str) -> list[str]:
    """Return the requirements in a requirements file."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().replace("\\\n", " ").splitlines()
    except OSError as error:
        raise AskPip from error
    found = []
    for line in lines:
        text = "" if line.startswith("#") else line.replace("\t", " ").partition(" #")[0].strip()
        if text.startswith("-"):
            if text.replace("=", " ").split()[0] not in SOURCES:
                raise AskPip
        elif text:
            found.append(text)
    return found


def is_satisfied(text: str, records: dict[str, str]) -> bool:
    """Return whether what is installed is what one requirement asks for."""
    plain, _, marker = text.partition(";")
    end = next((at for at, character in enumerate(plain) if character in " <>=!~"), len(plain))
    name, clauses = plain[:end], plain[end:].strip()
    if name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        applies = this_python_fits(marker) if marker.strip() else True
        record = records.get(normal(name))
        fits = applies and record is not None and (not clauses or is_within(of_record(record)[1], clauses))
        if applies is not None and fits is not None:
            return fits or not applies
    return _is_satisfied_in_full(text, records)


def _is_satisfied_in_full(text: str, records: dict[str, str]) -> bool:
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError as error:
        raise AskPip from error
    try:
        wanted = Requirement(text)
    except InvalidRequirement as error:
        raise AskPip from error
    if wanted.marker is not None and not wanted.marker.evaluate():
        return True
    if wanted.url or wanted.extras:  # what an address or an extra brings is for pip to find out
        raise AskPip
    record = records.get(normal(wanted.name))
    return record is not None and wanted.specifier.contains(of_record(record)[1], prereleases=True)


def is_within(version: str, clauses: str) -> bool | None:
    """Return whether a version of numbers and dots is within clauses of such, as `>=1,<2.5`; None: this is no such."""
    release = numbers(version)
    verdicts = []
    for clause in clauses.split(","):
        text = clause.strip()
        sign = text[:2] if text[:2] in COMPARISONS else text[:1]
        bound = numbers(text[len(sign) :])
        if release is None or bound is None or sign not in COMPARISONS:
            return None
        width = max(len(release), len(bound))
        padded = ([*found, *[0] * (width - len(found))] for found in (release, bound))
        verdicts.append(bool(COMPARISONS[sign](*padded)))
    return all(verdicts)


def this_python_fits(marker: str) -> bool | None:
    """Return what a marker of `python_version` comparisons says of this Python; None: it is no such marker."""
    verdicts = []
    for part in marker.split(" and "):
        words = part.strip().removeprefix("python_version")
        verdict = is_within("{}.{}".format(*sys.version_info), words.replace("'", "").replace('"', ""))
        if words == part.strip() or verdict is None:
            return None
        verdicts.append(verdict)
    return all(verdicts)


def numbers(text: str) -> list[int] | None:
    """Return the numbers of `1.20.3`; None for anything else."""
    parts = text.strip().split(".")
    return [int(part) for part in parts] if all(part.isascii() and part.isdigit() for part in parts) else None


def normal(name: str) -> str:
    """Return a package's name as names are compared."""
    return "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)


def packages(path: list[str]) -> dict[str, str]:
    """Return normal name → folder of its record, for the packages in `path`."""
    found: dict[str, str] = {}
    for folder in path:
        here: dict[str, str] = {}
        for entry in os.listdir(folder) if os.path.isdir(folder) else ():
            stem, _, kind = entry.rpartition(".")
            name = normal(stem.rpartition("-")[0])
            # Installed in an old way, or half removed: pip knows its ways.
            if kind in ("egg", "egg-info", "egg-link") or (kind == "dist-info" and (name in here or not name)):
                raise AskPip
            if kind == "dist-info":
                here[name] = os.path.join(folder, entry)
        found = {**here, **found}
    return found


def of_record(folder: str) -> tuple[str, str]:
    """Return the name and the version that a package gives itself."""
    fields: dict[str, str] = {}
    try:
        with open(os.path.join(folder, "METADATA"), encoding="utf-8") as file:
            for line in file:
                key, colon, value = line.partition(":")
                if not colon or len(fields) == 2:
                    break
                if key in ("Name", "Version"):
                    fields[key] = value.strip()
        return fields["Name"], fields["Version"]
    except (OSError, KeyError, ValueError) as error:
        raise AskPip from error


def freeze(*, everything: bool, path: list[str] | None = None) -> str:
    """Return what `pip freeze` prints of the packages in `path`."""
    rows = {}
    for folder in packages(path or sys.path).values():
        if os.path.exists(os.path.join(folder, "direct_url.json")):  # from an address, which only pip spells out
            raise AskPip
        name, version = of_record(folder)
        if everything or name not in TOOLS:
            rows[name.lower()] = f"{name}=={version}\n"
    return "".join(rows[name] for name in sorted(rows))


def for_uv(arguments: list[str]) -> list[str]:
    """Return the arguments of uv for an `install` of pip's.

    Raises:
        AskPip: Only pip understands it.
    """
    command = [word for word in arguments if word != "--disable-pip-version-check"]
    found: list[str] = []
    rest = iter(command[1:])
    for word in rest:
        option, equals, value = word.partition("=") if word.startswith("-") else (word, "", "")
        if option in SOURCES or option in ("-r", "--requirement"):
            found += [UV_WORDS.get(option, option), value if equals else next(rest, "")]
        elif word in ("--upgrade", "-U"):
            found.append("--upgrade")
        elif word.startswith("-") and word not in HARMLESS:
            raise AskPip
        elif not word.startswith("-") and word not in HABITS:
            found.append(word)
    if command[:1] != ["install"] or not found:
        raise AskPip
    return found


def uv_environment(environ: dict[str, str]) -> dict[str, str]:
    """Return the environment that uv gets.

    Raises:
        AskPip: pip is configured by a file.
    """
    if environ.get("PIP_CONFIG_FILE") or any(os.path.exists(os.path.expanduser(file)) for file in PIP_FILES):
        raise AskPip
    cache = environ.get(CACHE, "")
    kept = {"UV_CACHE_DIR": fetched_folder(cache)} if cache and os.access(cache, os.W_OK | os.X_OK) else {}
    if cache and not kept:
        print(f"{CACHE}={cache}: no folder that this pod may write to; nothing is kept there", flush=True)
    named = {name: environ[variable] for variable, name in UV_VARIABLES.items() if environ.get(variable)}
    # As pip: the best version of all indexes, and not the first index that has the package.
    habits = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_LINK_MODE": "copy", "UV_PYTHON_DOWNLOADS": "never"}
    return {**({} if kept else {"UV_NO_CACHE": "1"}), **habits, **named, **environ, **kept}


def fetched_folder(volume: str) -> str:
    """Return the folder in which uv keeps what it has fetched; those of earlier months are removed."""
    import shutil
    import time

    year, month = time.gmtime()[:2]
    last = [divmod(year * 12 + month - 1 - ago, 12) for ago in range(FETCHED_MONTHS)]
    names = [f"uv-{year}-{month + 1:02}" for year, month in last]
    for name in os.listdir(volume):
        if name.startswith("uv-") and name not in names:
            shutil.rmtree(os.path.join(volume, name), ignore_errors=True)
    return os.path.join(volume, names[0])


def install(arguments: list[str], *, again: tuple[str, ...] = ()) -> bool:
    """Install by uv; return whether it did.

    Args:
        arguments: Those of pip.
        again: Packages to fetch and install once more.
    """
    import subprocess  # only here: most calls need nothing installed

    try:
        words, environment = for_uv(arguments), uv_environment(dict(os.environ))
        words += [word for name in again for word in ("--refresh-package", name, "--reinstall-package", name)]
        words += ["--no-index"] if os.environ.get("PIP_NO_INDEX", "").lower() in ("1", "true", "yes", "on") else []
        command = [UV, "pip", "install", "--python", sys.executable, *words]
        done = subprocess.run(command, env=environment, timeout=UV_TIMEOUT_S, check=False)
    except (AskPip, OSError, subprocess.TimeoutExpired):
        return False
    if done.returncode:
        print(f"uv ended with {done.returncode}; pip is asked", flush=True)
    return done.returncode == 0


def install_or_use_kept(arguments: list[str], volume: str) -> int:
    """Use the environment that is kept for what this step wants, or install that and keep it; return the exit code."""
    import subprocess
    import sysconfig
    from pathlib import Path

    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # -I leaves it out
    from kept_packages import KeptPackages, wanted  # type: ignore[import-not-found]

    words = arguments[arguments.index("install") + 1 :]
    files = dict.fromkeys(("-r", "--requirement"), True) | dict.fromkeys(SOURCES, False)
    try:
        lines = [line for line in wanted(words, files, HARMLESS) if line not in HABITS]
        kept = KeptPackages(Path(volume), lines, prefix=Path(sys.prefix), site=Path(sysconfig.get_path("purelib")))
        if kept.use():
            print(f"what this step pins is there already: {kept.folder}", flush=True)
            return 0
        if kept.damage:
            print(f"{kept.folder} has lost {kept.damage}: what this step pins is installed again", flush=True)
        arguments = kept.begin(arguments)
    except (OSError, ValueError) as error:
        print(f"{CACHE}={volume}: {error}; nothing is taken from there", flush=True)
        kept = None
    code = 0 if install(arguments) else subprocess.run([*PIP, *arguments], check=False).returncode
    if code == 0 and kept:
        try:
            if incomplete := kept.incomplete():
                print(f"uv's cache in {volume} has lost files of {', '.join(incomplete)}: fetched again", flush=True)
                fresh = [*PIP, *arguments, "--force-reinstall", "--no-cache-dir"]
                again = install(arguments, again=tuple(incomplete))
                code = 0 if again else subprocess.run(fresh, check=False).returncode
            if code == 0 and os.access(volume, os.W_OK | os.X_OK):  # else uv's call has said so
                sys.stdout.write(kept.keep())
        except (OSError, ValueError) as error:
            print(f"{CACHE}={volume}: {error}; what was installed is not kept for other steps", flush=True)
    return code


def main() -> None:
    """Answer, or install by uv, or become pip."""
    arguments, volume = sys.argv[1:], os.environ.get(CACHE, "")
    try:
        sys.stdout.write(answer(arguments))
    except AskPip:
        if "install" in arguments[:2] and os.path.isdir(volume):
            sys.exit(install_or_use_kept(arguments, volume))
        if not install(arguments):
            os.execv(PIP[0], [*PIP, *arguments])  # noqa: S606 - no shell: the agent's own words, to pip


if __name__ == "__main__":
    main()
