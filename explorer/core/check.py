"""What `--check` prints, for the CI of a training repository: the findings, and whether the groups pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from explorer.core.listing import Listing
from explorer.core.listing.contract import ENCODER, JSON_FORMAT, findings_of, groups_of, head_of
from explorer.core.listing.table import NAMED
from explorer.core.text import plural, some_names


def passes(listing: Listing) -> bool:
    """Tell whether no finding is an error: neither of the groups nor of what was opened."""
    return all(finding.severity != "error" for finding in listing.findings)


def check_text(listing: Listing) -> Iterator[str]:
    """Yield each finding with its reason, its fix and its first parameters; then the counts and the verdict."""
    for finding in listing.findings:
        yield f"{finding.severity}: {finding.id}: {finding.message}\n"
        names = some_names(finding.names, NAMED)
        for head, text in (("in", names), ("why", finding.why), ("fix", finding.fix)):
            if text:
                yield f"  {head}: {text}\n"
    counts = Counter(finding.severity for finding in listing.findings)
    told = ", ".join(plural(counts[severity], severity) for severity in ("error", "warning", "hint"))
    origin = listing.model.origin
    yield f"{origin.target}: {told}: {'passed' if passes(listing) else 'failed'}\n"


def check_json(listing: Listing) -> Iterator[str]:
    """Yield one JSON object: the keys of `--print json` without `parameters` and `totals`, and `passed`.

    A finding has `why` and `fix` too, empty where there is none.
    """
    findings = [
        {**plain, "why": finding.why, "fix": finding.fix}
        for plain, finding in zip(findings_of(listing.findings), listing.findings, strict=True)
    ]
    document = {
        "format": JSON_FORMAT,
        "model": head_of(listing.model.origin),
        "passed": passes(listing),
        "groups": groups_of(listing),
        "findings": findings,
    }
    yield ENCODER.encode(document) + "\n"
