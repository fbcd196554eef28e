"""What can go wrong while a cluster is made, used or removed; each error names its cause and the next command."""

from __future__ import annotations

from clearml_access.errors import UserFacingError


class ClusterError(UserFacingError):
    """The cluster cannot do what is asked."""

    exit_code = 50


class CannotHostError(ClusterError):
    """This machine cannot hold a cluster: no root, no Linux, no free network, nothing to build with."""

    exit_code = 51


class BuildError(ClusterError):
    """A program of the cluster could not be installed or built."""

    exit_code = 52


class StartError(ClusterError):
    """A part of the cluster did not become ready in time; its evidence is the end of its log."""

    exit_code = 53


class NotRunningError(ClusterError):
    """There is no running cluster of that name."""

    exit_code = 54
