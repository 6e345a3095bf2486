"""G8: is the model trained on what it may be, and are the files those that were made?"""

from __future__ import annotations

from opslore.errors import DataError
from opslore.evaluation.evidence import Evidence, Verdict

LATER = (
    "the release is signed after this, and its signature is verified by publish, download and"
    " deploy"
)


def hygiene(evidence: Evidence) -> Verdict:
    """Leaks, secrets and canaries, the chat template, the weights.

    Raises:
        DataError: something of it is unknown.
    """
    if evidence.templates is None:
        raise DataError("the chat template of the GGUF or of the trained model is unknown")
    if evidence.leaks is None:
        raise DataError("the training examples cannot be read, so nobody knows what leaks")
    if evidence.secrets is None:
        raise DataError("the training rows or the replies were not searched for secrets")
    if evidence.weights is None:
        raise DataError("the card of the bundle is missing, so nobody knows which GGUF was asked")
    shipped, trained = evidence.templates
    asked, exported = evidence.weights
    template = f"chat template {'as' if shipped == trained else 'NOT as'} trained"
    weights = f"GGUF {'as' if asked == exported else 'NOT as'} exported"
    found = [*evidence.leaks, *evidence.secrets]
    return Verdict(
        not found and shipped == trained and bool(shipped) and asked == exported and bool(asked),
        f"{template} (sha256 {shipped[:12]}), {weights} (sha256 {asked[:12]}),"
        f" {len(evidence.leaks)} leaks between splits, {len(evidence.secrets)} secrets or canaries"
        f" in training rows and replies ({LATER})",
        "the same template and weights, 0 leaks, 0 secrets or canaries",
        [line.partition(": ")[0].partition(" and ")[0] for line in found],
    )
