"""What all command lines of this repository share: errors, signals and exit codes.

It knows click and the base of our errors, and none of the packages that use it.
"""
