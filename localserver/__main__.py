"""`python -m localserver`, as it was typed before the server became a package of its own. Not in the wheel."""

import sys

sys.exit(
    "Error: the server's module is now clearml_localserver\n"
    "Hint: .venv/bin/clearml-localserver --data DIR (in a clone, after `./task setup`), or uvx clearml-localserver"
)
