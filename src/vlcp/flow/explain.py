"""Why a flow is there: from its cookie back to the rule that wants it, in words."""

from __future__ import annotations

from typing import NamedTuple

from vlcp.derive.graph import Call
from vlcp.flow.rules import feature_of


class Explanation(NamedTuple):
    """The cause of a flow: the feature, the rule, the rule's sentence, and what it was called with."""

    feature: str
    rule: str
    sentence: str
    arguments: tuple[str, ...]


def explain(call: Call) -> Explanation:
    """The explanation of all flows of a rule call."""
    rule, *arguments = call
    sentence = " ".join((rule.__doc__ or "").split())
    return Explanation(feature_of(call).name, rule.__name__, sentence, tuple(map(str, arguments)))
