"""Builds the whole site: guides by mkdocs, the catalogue of codes, and the OpenAPI documents."""

import hashlib
import json
import shutil
import tempfile
from datetime import UTC, date, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any, Final

from mkdocs.commands.build import build as build_pages
from mkdocs.config import load_config
from shared.codes import catalogue

from developer_pages.audiences import AUDIENCES
from developer_pages.openapi import document_of, service_documents

REPOSITORY: Final = Path(__file__).resolve().parents[4]
GUIDES: Final = REPOSITORY / "docs" / "developers"
CHANGELOG: Final = REPOSITORY / "CHANGELOG.md"
#: Written last: a site without it is not whole.
_STAMP: Final = ".made-from"

#: The menu: pages by heading. What begins with a slash is a page of a service.
_PAGES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "Guides": (
        ("Rewards vendors", "vendors.md"),
        ("Receipts", "receipts.md"),
        ("Reconciliation", "reconciliation.md"),
        ("Third parties", "third-parties.md"),
        ("Partners", "partners.md"),
        ("Partner (Deutsch)", "partner-deutsch.md"),
        ("Campaign back ends", "campaigns.md"),
        ("The platform's back ends", "platform.md"),
    ),
    "To try things in": (
        ("The sandbox", "sandbox.md"),
        ("Die Sandbox (Deutsch)", "sandbox-deutsch.md"),
        ("A client for your tests", "/developers/test-client"),
        ("What is wrong with a token?", "/developers/inspect"),
    ),
    "For all": (
        ("Webhooks and events", "webhooks.md"),
        ("Errors, retries, idempotency", "errors.md"),
        ("Codes", "codes.md"),
        ("Time and clocks", "time.md"),
        ("Limits", "limits.md"),
        ("Versions and deprecation", "versions.md"),
        ("Changelog", "changelog.md"),
        ("Reporting a weakness", "security.md"),
    ),
}
#: What the theme leaves to be wished for by people who see badly: colours with contrast, links that are underlined.
_STYLE: Final = """\
[data-md-color-primary="custom"] {
  --md-primary-fg-color: #00695c;
  --md-primary-fg-color--light: #00897b;
  --md-primary-fg-color--dark: #004d40;
}
[data-md-color-scheme="default"] {
  --md-typeset-a-color: #00695c;
  --md-accent-fg-color: #004d40;
  --md-default-fg-color--light: #000000b3;
  --md-code-hl-comment-color: #000000a6;
  --md-code-hl-operator-color: #000000a6;
  --md-code-hl-punctuation-color: #000000a6;
  --md-code-hl-string-color: #176b2c;
  --md-code-hl-number-color: #b3260b;
  --md-code-hl-generic-color: #000000a6;
  --md-code-hl-variable-color: #000000a6;
}
[data-md-color-scheme="slate"] {
  --md-typeset-a-color: #4dd0c0;
  --md-accent-fg-color: #80e5d8;
}
.md-typeset a:not(.headerlink, .md-button) { text-decoration: underline; }
/* Below the header, which stays above the page: parts of the frame that calls are tried in, too. */
html { scroll-padding-top: 3rem; }
/* The whole name on a phone. */
.md-nav--primary .md-nav__title[for="__drawer"] {
  height: auto;
  padding: 3.4rem .8rem .4rem;
  line-height: 1.3;
  white-space: normal;
}
@media (max-width: 30em) {
  .md-header__title { font-size: .72rem; }
  .md-header__topic { display: flex; align-items: center; height: 2.4rem; }
  .md-header__topic .md-ellipsis { white-space: normal; line-height: 1.2; }
}
"""


def build_site(out: Path, public_url: str) -> bool:
    """Builds the site into `out`, unless it is there already and was made from the same; returns whether it built."""
    made_from = _digest(public_url)
    stamp = out / _STAMP
    if stamp.is_file() and stamp.read_text() == made_from:
        return False
    services = service_documents(public_url)
    documents = {audience.name: document_of(audience, services, public_url) for audience in AUDIENCES}
    with tempfile.TemporaryDirectory(prefix="developer-pages-") as directory:
        sources, site = Path(directory) / "pages", Path(directory) / "site"
        _write_sources(sources, documents)
        _run_mkdocs(Path(directory), sources, site)
        _name_parts(site)
        _serve_without_a_slash(site)
        _write_well_known(site / ".well-known", public_url)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(site, out)
    stamp.write_text(made_from)
    return True


def _write_sources(sources: Path, documents: dict[str, Any]) -> None:
    shutil.copytree(GUIDES, sources)
    (sources / "changelog.md").write_text(CHANGELOG.read_text(encoding="utf-8"), encoding="utf-8")
    (sources / "codes.md").write_text(codes_page(), encoding="utf-8")
    (sources / "style.css").write_text(_STYLE, encoding="utf-8")
    (sources / "openapi").mkdir()
    (sources / "reference").mkdir()
    for audience in AUDIENCES:
        (sources / "openapi" / f"{audience.name}.json").write_text(json.dumps(documents[audience.name], indent=1))
        page = (
            f"# {audience.title}\n\n{audience.summary} As a document for your tools: "
            f"[{audience.name}.json](../openapi/{audience.name}.json).\n\n"
            "You can send calls from this page: press *Authorize*, enter a client of [the sandbox](../sandbox.md), "
            "open an operation, and press *Execute*.\n\n"
            f'<swagger-ui src="../openapi/{audience.name}.json"/>\n'
        )
        (sources / "reference" / f"{audience.name}.md").write_text(page, encoding="utf-8")


def codes_page() -> str:
    """The catalogue of codes, as Markdown; every code has an anchor of its own name."""
    lines = [
        "# Codes",
        "",
        "Every refusal carries a stable `code`. Decide by it, never by the message. The `type` of a problem body leads",
        "here.",
        "",
    ]
    for entry in catalogue().values():
        lines += [
            f"## {entry.code} {{ #{entry.code} }}",
            "",
            f"**{entry.status}** · {escape(entry.meaning)}",
            "",
            f"*What to do:* {escape(entry.action)}",
            "",
        ]
    return "\n".join(lines)


def _run_mkdocs(directory: Path, sources: Path, site: Path) -> None:
    reference = [
        (one.title.removeprefix("Points platform ").capitalize(), f"reference/{one.name}.md") for one in AUDIENCES
    ]
    groups = {**_PAGES, "Reference": reference}
    navigation: list[Any] = [{"Start here": "index.md"}]
    navigation += [{group: [{title: file} for title, file in pages]} for group, pages in groups.items()]
    config = {
        "site_name": "Points platform for developers",
        "docs_dir": str(sources),
        "site_dir": str(site),
        # Pages lie beside each other, so that `/developers/codes` needs no slash at its end.
        "use_directory_urls": False,
        "nav": navigation,
        "theme": {
            "name": "material",
            # No font and no script of a foreign host.
            "font": False,
            "features": ["navigation.top", "navigation.sections", "content.code.copy", "search.suggest"],
            "palette": [
                {"media": "(prefers-color-scheme: light)", "scheme": "default", "primary": "custom"},
                {"media": "(prefers-color-scheme: dark)", "scheme": "slate", "primary": "custom"},
            ],
        },
        "plugins": ["search", {"swagger-ui-tag": {"tryItOutEnabled": True}}],
        "markdown_extensions": [
            "admonition",
            "attr_list",
            "tables",
            "toc",
            "pymdownx.superfences",
            {"pymdownx.tabbed": {"alternate_style": True}},
        ],
        "extra": {"generator": False},
        "extra_css": ["style.css"],
        "strict": True,
    }
    file = directory / "mkdocs.yml"
    # JSON is YAML.
    file.write_text(json.dumps(config))
    build_pages(load_config(str(file)))


def _name_parts(site: Path) -> None:
    """Gives names to what the theme leaves nameless for people who listen, and the German pages their language."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = text.replace(
            'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
        )
        text = text.replace("<iframe", '<iframe title="Reference"')
        if page.stem.endswith("-deutsch"):
            text = text.replace('<html lang="en"', '<html lang="de"', 1)
        page.write_text(text, encoding="utf-8")


def _serve_without_a_slash(site: Path) -> None:
    """`/developers` itself: the first page, whose links are those of a page below `/developers/`.

    The theme's scripts resolve their own base against the address and do not look at `<base>`, so it is written out.
    """
    first = (site / "index.html").read_text(encoding="utf-8")
    first = first.replace("<head>", '<head><base href="/developers/">', 1)
    for written in ('"base": ', "new URL("):
        first = first.replace(f'{written}"."', f'{written}"/developers/"', 1)
    (site / "root.html").write_text(first, encoding="utf-8")


def _write_well_known(directory: Path, public_url: str) -> None:
    """The catalogue of APIs (RFC 9727), and where to report a weakness (RFC 9116)."""
    directory.mkdir()
    items = [
        {
            "anchor": f"{public_url}/",
            "service-desc": [
                {"href": f"{public_url}/developers/openapi/{one.name}.json", "type": "application/json"}
                for one in AUDIENCES
            ],
            "service-doc": [{"href": f"{public_url}/developers", "type": "text/html"}],
        }
    ]
    (directory / "api-catalog").write_text(json.dumps({"linkset": items}))
    expires = (_today() + timedelta(days=365)).strftime("%Y-%m-%dT00:00:00Z")
    (directory / "security.txt").write_text(
        f"Contact: {public_url}/developers/security\nExpires: {expires}\nPreferred-Languages: en, de\n"
        f"Canonical: {public_url}/.well-known/security.txt\n"
    )


def _today() -> date:
    return datetime.now(UTC).date()


def _digest(public_url: str) -> str:
    """A digest of all that the site is made from."""
    # Of this month, so that security.txt never expires.
    digest = hashlib.sha256(f"{public_url} {_today():%Y-%m}".encode())
    roots = [GUIDES, Path(__file__).parent, REPOSITORY / "shared" / "src", *sorted(REPOSITORY.glob("services/*/src"))]
    files = [CHANGELOG, *(file for root in roots for file in sorted(root.rglob("*")) if file.suffix in _SOURCES)]
    for file in files:
        digest.update(str(file.relative_to(REPOSITORY)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


_SOURCES: Final = {".py", ".md", ".toml", ".svg", ".png"}
