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
            evaluation = _parent(home, release.parents)
            return _champion(home, version, release.parents, evaluation)
    passed = [e for e in home.cards(Evaluation) if e.passed and bundle.id not in e.parents]
    if not passed:
        return None
    return _champion(home, f"evaluation {passed[-1].id[:12]}", passed[-1].parents, passed[-1])


def _champion(
    home: Store, version: str, parents: list[str], evaluation: Evaluation | None
) -> Champion | None:
    bundle = next((b for p in parents if (b := home.find(Bundle, p)) is not None), None)
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


def _parent(home: Store, parents: list[str]) -> Evaluation | None:
    return next((e for p in parents if (e := home.find(Evaluation, p)) is not None), None)


def _dataset(home: Store, bundle: Bundle) -> Dataset | None:
    """The dataset that a bundle was trained on; its evaluation asked the test prompts of it."""
    adapter = next((a for p in bundle.parents if (a := home.find(Adapter, p)) is not None), None)
    parents = adapter.parents if adapter else []
    return next((d for p in parents if (d := home.find(Dataset, p)) is not None), None)
