"""`clearml-localserver`, and the same as `python -m clearml_localserver`."""

from clearml_localserver.cli import main

if __name__ == "__main__":
    main(prog_name="clearml-localserver")
