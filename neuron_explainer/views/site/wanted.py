"""What the pages of a site depend on."""

from __future__ import annotations

import hashlib
from pathlib import Path

from neuron_explainer.components.component import Component
from neuron_explainer.components.digests import add_files
from neuron_explainer.components.explanations.sharing import own_explanations
from neuron_explainer.storage.locations import is_url
from neuron_explainer.views.site.plan import SitePlan


def digest_of_explanations(component: Component, plan: SitePlan) -> str:
    """A digest of the explanations that a site shows: one's own, and published ones that are in a folder."""
    own = own_explanations()
    mine = own[(own["dst"] == component.dst.value) & (own["subject"] == component.subject)] if len(own) else own
    digest = hashlib.sha256(mine.to_csv(index=False).encode())
    published = component.at_hand.explanations
    if published is not None:
        digest.update(published.encode())
        if not is_url(published):
            add_files(digest, Path(published), plan.layers, ".jsonl")
    return digest.hexdigest()
