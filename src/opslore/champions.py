"""Which model a new one has to be as good as: the deployed release, or the last that passed."""

from __future__ import annotations

from opslore.cards import Adapter, Bundle, Dataset, Evaluation, Release
from opslore.evaluation.champion import Champion
from opslore.release.current import history
from opslore.store import Store


def champion(home: Store, bundle: Bundle) -> Champion | None:
    """The champion for a bundle; never itself. None when nothing was released or passed yet.

    The release that `current` points to, or the one before when that is this very bundle's; without
    a release the newest evaluation that passed.

    Raises:
        IntegrityError: the pointer to the deployed release cannot be read.
    """
    now = history(home)
    releases = {card.version: card for card in home.cards(Release) if bundle.id not in card.parents}
    for version in (now.version, *now.before):
        if (release := releases.get(version)) is not None:
            return _champion(home, version, release, home.parent(release, Evaluation))
    passed = [e for e in home.cards(Evaluation) if e.passed and bundle.id not in e.parents]
    if not passed:
        return None
    return _champion(home, f"evaluation {passed[-1].id[:12]}", passed[-1], passed[-1])


def _champion(
    home: Store, version: str, card: Release | Evaluation, evaluation: Evaluation | None
) -> Champion | None:
    bundle = home.parent(card, Bundle)
    if bundle is None:
        return None
    dataset = _dataset(home, bundle)
    return Champion(
        version=version,
        bundle=home.path(bundle),
        dataset=home.path(dataset) if dataset else None,
        evaluation=home.path(evaluation) if evaluation else None,
        settings=evaluation.settings if evaluation else {},
    )


def _dataset(home: Store, bundle: Bundle) -> Dataset | None:
    """The dataset that a bundle was trained on; its evaluation asked the test prompts of it."""
    adapter = home.parent(bundle, Adapter)
    return home.parent(adapter, Dataset) if adapter else None
