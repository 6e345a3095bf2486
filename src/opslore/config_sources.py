"""Where the lore is read: the `collect` section of the agent file, one class per kind of source."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from opslore.config_section import Section

REPOSITORY = r"^[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/[A-Za-z0-9._-]{1,100}$"


class RunbookSource(Section):
    """A runbook: one Markdown file, a folder with a file per alert, a git URL or an https URL."""

    kind: Literal["runbook"] = "runbook"
    path: str
    """File, folder (relative to where you run the command), git URL (`https://HOST/NAME.git`) or
    https URL of a file."""
    ref: str = ""
    """Branch or tag of a git repository; empty is its default branch."""
    inside: str = ""
    """File or folder of a git repository; empty reads every Markdown file of it."""
    fields: dict[str, list[str]] = Field(default_factory=dict)
    """More names for `symptoms`, `investigation`, `resolution`, `severity`, in any language."""
    titles: list[str] = Field(default_factory=list)
    """More words that introduce an alert's heading, besides "Alert"."""

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        known = ("symptoms", "investigation", "resolution", "severity")
        for name in value:
            if name not in known:
                raise ValueError(
                    f"{name!r} is not a field of an alert; there are {', '.join(known)}"
                )
        return value


class _About(Section):
    """What a prose source is about; it makes every question stand on its own."""

    product: str = ""
    """Name that questions use, such as Linkerd; empty is taken from the source itself."""
    version: str = ""
    """Version the text is about; empty when it says so itself or when it does not matter."""


class IssuesSource(_About):
    """Issues and pull requests of GitHub repositories (GITHUB_TOKEN raises the limits)."""

    kind: Literal["issues"] = "issues"
    repositories: Annotated[list[Annotated[str, Field(pattern=REPOSITORY)]], Field(min_length=1)]
    """`owner/name` of each."""
    url: str = "https://api.github.com"
    """REST endpoint; `https://HOST/api/v3` for GitHub Enterprise."""
    pulls: bool = True
    """Pull requests with their reviews, too."""
    since: str = ""
    """Nothing that was last updated before this day (YYYY-MM-DD); empty reads everything."""


class DocsSource(_About):
    """Documentation: a folder, a git repository, or a website by its sitemap."""

    kind: Literal["docs"] = "docs"
    path: str
    """Folder, git URL (`https://HOST/NAME.git`), or the https URL of a site or its sitemap.xml."""
    ref: str = ""
    """Branch or tag of a git repository; empty is its default branch."""
    include: list[str] = Field(default_factory=list)
    """Glob patterns of the files, or of the addresses, to read; empty reads all that are text."""
    exclude: list[str] = Field(default_factory=list)
    """Glob patterns to leave out."""
    trust: Literal["T1", "T2", "T3"] = "T2"
    """Who wrote it: T1 a repository whose every change your team reviews, T2 maintainers."""


class WikiSource(_About):
    """A wiki: DeepWiki pages of a repository, or a MediaWiki or GitHub wiki by git."""

    kind: Literal["wiki"] = "wiki"
    repository: str = ""
    """`owner/name` on DeepWiki."""
    path: str = ""
    """Folder or git URL of a wiki's own repository (`https://github.com/owner/name.wiki.git`)."""
    url: str = "https://mcp.deepwiki.com/mcp"
    """DeepWiki's MCP endpoint."""
    pages: str = "https://deepwiki.com"
    """DeepWiki's website, which is read when the endpoint does not answer."""
    trust: Literal["T1", "T2", "T3"] = "T3"
    """Who wrote it; DeepWiki's text is made by a model."""


class CorrectionsSource(_About):
    """Corrections by hand: JSON Lines that `opslore correct` writes; they win over every source."""

    kind: Literal["corrections"] = "corrections"
    path: str
    """The file; it need not be there yet."""


class ArchiveSource(_About):
    """Conversations that somebody collected already: one JSON or JSON Lines file, or a folder."""

    kind: Literal["archive"] = "archive"
    path: str
    """File or folder."""
    format: Literal["auto", "i-d-template", "sharegpt", "alpaca", "messages"] = "auto"
    """What is in it; `auto` looks."""
    trust: Literal["T1", "T2", "T3"] = "T3"
    """Who answered, where the file does not say."""


SOURCES: dict[str, type[Section]] = {
    "runbook": RunbookSource,
    "issues": IssuesSource,
    "docs": DocsSource,
    "wiki": WikiSource,
    "corrections": CorrectionsSource,
    "archive": ArchiveSource,
}


def _kind(value: Any) -> str:
    """A source without a kind is a runbook."""
    found = value.get("kind", "runbook") if isinstance(value, dict) else getattr(value, "kind", "")
    return str(found)


Source = Annotated[
    Annotated[RunbookSource, Tag("runbook")]
    | Annotated[IssuesSource, Tag("issues")]
    | Annotated[DocsSource, Tag("docs")]
    | Annotated[WikiSource, Tag("wiki")]
    | Annotated[CorrectionsSource, Tag("corrections")]
    | Annotated[ArchiveSource, Tag("archive")],
    Discriminator(_kind),
]
