"""`python -m localserver`."""

import sys

try:
    from localserver.cli import main
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] == "localserver":
        raise
    # The package alone is enough for a pipeline's steps: the server's libraries are an extra.
    sys.exit(
        f"Error: localserver cannot start: the package {error.name} is not installed\n"
        "Hint: install clearml-pods with its extra [server]; docs/localserver.md shows how"
    )

main(prog_name="python -m localserver")
