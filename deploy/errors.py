"""The errors a user of `python -m deploy` can meet, each with its exit code and its next command.

The base classes stand for bands, so that a script can tell "your values" from "the cluster" by the exit code alone:

    1       checks: `check` or `doctor` found something broken
    2, 4    usage: the command line itself; a question that nobody is there to answer
    10-19   settings and values
    20-29   helm and the chart
    30-39   the cluster, its pods, its rights
    40-49   the ClearML server, its queue, its workers

Errors of calls to the server come from `clearml_access.errors`; `exit_code_of` has their codes too. This module only
describes failures: it must not print, log or exit (`command_line.main` does).
"""

from __future__ import annotations

from collections.abc import Mapping

from clearml_access import errors as access
from clearml_access.errors import ServerError, UserFacingError


class DeployError(UserFacingError):
    """A failure of deploy's own."""


class SeveralReleasesError(DeployError):
    """Some releases of a deployment failed; the exit code is that of the first."""

    def __init__(self, failed: Mapping[str, UserFacingError], count: int) -> None:
        error = next(iter(failed.values()))
        super().__init__(
            f"{len(failed)} of {count} releases failed: {', '.join(failed)}; the others are as they should be",
            hint=error.hint,
            evidence=tuple(
                f"{release}: {line}" for release, each in failed.items() for line in (each.message, *each.evidence)
            ),
        )
        self.exit_code = vars(error).get("exit_code") or exit_code_of(type(error))


class CheckFailedError(DeployError):
    """A check failed; the message names it."""

    exit_code = 1


class UsageError(DeployError):
    """The command line asks for something that makes no sense, or the person said no."""

    exit_code = 2


class ConfirmationError(UsageError):
    """The command asks before it removes anything, and there is no terminal to confirm on."""

    exit_code = 4


class SettingsError(DeployError):
    """A setting or a credential is missing or wrong."""

    exit_code = 10


class ValuesError(SettingsError):
    """The values have a key that the chart would ignore, or a value of the wrong type."""

    exit_code = 11


class VersionError(SettingsError):
    """The versions of agent, chart, server or cluster do not work together."""

    exit_code = 12


class HelmError(DeployError):
    """A helm command failed."""

    exit_code = 20


class HelmNotFoundError(HelmError):
    """Helm is missing or too old."""

    exit_code = 21


class ChartError(HelmError):
    """The chart cannot be fetched, is not a chart, or does not render."""

    exit_code = 22


class ChartVersionError(ChartError):
    """The chart does not allow this cluster's Kubernetes version."""

    exit_code = 23


class ReleaseBusyError(HelmError):
    """Another process is changing the release, or tasks run in the pods of one that is to be removed."""

    exit_code = 24


class ReleaseNotFoundError(HelmError):
    """There is no such release, or no revision to roll back to."""

    exit_code = 25


class ReleaseExistsError(HelmError):
    """A release that belongs to something else has the name that is needed."""

    exit_code = 26


class ClusterError(DeployError):
    """The cluster refused a request or did not answer."""

    exit_code = 30


class KubeconfigError(ClusterError):
    """The kubeconfig is missing or unreadable, or does not have the context."""

    exit_code = 31


class ClusterUnreachableError(ClusterError):
    """The API server does not answer."""

    exit_code = 32


class RightsError(ClusterError):
    """A permission in the cluster is missing."""

    exit_code = 33


class PodError(ClusterError):
    """A pod cannot start, or has ended with an error."""

    exit_code = 34


class DeadlineError(ClusterError):
    """A wait ended at its deadline; the message shows what was seen last."""

    exit_code = 35


class AdmissionError(ClusterError):
    """The rules of the namespace refuse an object; the message quotes them."""

    exit_code = 36


class ServedAnswerError(ClusterError):
    """A served model does not answer a pod, or answers otherwise than the model itself does."""

    exit_code = 37


class WorkerError(ServerError):
    """The agent does not register, or does not serve its queue."""

    exit_code = 43


class CanaryError(ServerError):
    """The canary task did not complete."""

    exit_code = 44


class TaskNotFoundError(ServerError):
    """There is no such task or pipeline."""

    exit_code = 45


_CODES: dict[type[BaseException], int] = {
    access.ConfigurationError: SettingsError.exit_code,
    ServerError: 40,
    access.ServerUnreachableError: 41,
    access.CredentialsError: 42,
}


def exit_code_of(kind: type[BaseException]) -> int:
    """Return the exit code of a kind of error, the server's own included."""
    return access.exit_code_of(kind, _CODES)
