"""docs/compatibility.md: the table is written from what the tests found."""

from __future__ import annotations

from pathlib import Path

from support.lines import CLIENTS

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
SERVERS = ("old-stdio", "old-http", "new-stdio", "new-http")
WORDS = {
    "old-stdio": "legacy stdio",
    "old-http": "legacy HTTP",
    "new-stdio": "modern stdio",
    "new-http": "modern HTTP",
}

Outcomes = dict[tuple[str, str, str], bool | None]
"""By feature, client and server: it works, it does not, or (None) the protocol knows nothing of the kind."""


def table(outcomes: Outcomes) -> str:
    """The table in Markdown."""
    features = list(dict.fromkeys(feature for feature, _, _ in outcomes))
    head = ["feature", *(f"{kind} client".replace("http", "HTTP") for kind in CLIENTS)]
    rows = [head, ["---", *(":-:" for _ in CLIENTS)]]
    rows += [[feature, *(_cell(outcomes, feature, kind) for kind in CLIENTS)] for feature in features]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _cell(outcomes: Outcomes, feature: str, client: str) -> str:
    found = {server: outcomes.get((feature, client, server)) for server in SERVERS}
    if all(one is None for one in found.values()):
        return "–"
    if all(one is True for one in found.values()):
        return "yes"
    failed = [WORDS[server] for server, one in found.items() if one is False]
    if failed:
        return "not with " + ", ".join(failed)
    return "with " + ", ".join(WORDS[server] for server, one in found.items() if one)


def documented() -> str:
    """The table as it stands in the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return text.partition(BEGIN)[2].partition(END)[0].strip() + "\n"


def write(outcomes: Outcomes) -> None:
    """Put the table into the document."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{table(outcomes)}\n{END}{after}", encoding="utf-8")
