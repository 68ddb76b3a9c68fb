"""The pages for developers: whole, self-contained, and true to the code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from developer_pages.audiences import AUDIENCES
from developer_pages.openapi import operations_of, service_documents
from developer_pages.site import build_site
from shared.codes import catalogue

PUBLIC_URL = "https://points.example"
#: Public operations that nobody builds against: pages' own, and the metadata of single keys.
NOT_FOR_AUDIENCES = ("/healthz", "/readyz", "/internal", "/metrics")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "developers"
    assert build_site(out, PUBLIC_URL)
    return out


def document(site: Path, name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((site / "openapi" / f"{name}.json").read_text())
    return told


def test_a_site_that_is_there_is_not_built_again(site: Path) -> None:
    assert not build_site(site, PUBLIC_URL)


def test_no_page_asks_a_foreign_host(site: Path) -> None:
    loads = re.compile(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:)?//[^"]+"')
    foreign = [
        (str(page.relative_to(site)), found[0])
        for page in site.rglob("*.html")
        for found in loads.finditer(page.read_text(encoding="utf-8"))
        if PUBLIC_URL not in found[0] and 'rel="canonical"' not in found[0]
    ]
    assert foreign == []


def test_every_code_has_an_anchor_of_its_own(site: Path) -> None:
    page = (site / "codes.html").read_text(encoding="utf-8")
    assert [code for code in catalogue() if f'id="{code}"' not in page] == []


@pytest.mark.parametrize("name", [audience.name for audience in AUDIENCES])
def test_an_audience_s_document_can_be_generated_from(site: Path, name: str) -> None:
    """Every reference leads somewhere, every operation has a name of its own, nothing is of the inside."""
    told = document(site, name)
    assert told["openapi"].startswith("3.1")
    assert told["servers"] == [{"url": PUBLIC_URL}]
    references = set(re.findall(r'"\$ref": "#/components/(\w+)/([^"]+)"', json.dumps(told)))
    assert [(kind, one) for kind, one in references if one not in told["components"].get(kind, {})] == []
    # Two models of one name get their modules before it, and no client can be generated that people like to read.
    assert [
        name for kind in told["components"].values() for name in kind if not name.isidentifier() or "__" in name
    ] == []
    names = [operation["operationId"] for _, _, operation in operations_of(told)]
    assert names
    assert len(names) == len(set(names))
    assert [path for path in told["paths"] if path.startswith(NOT_FOR_AUDIENCES)] == []
    assert set(told["components"]["securitySchemes"]) >= {"basic", "bearer"}


@pytest.mark.parametrize("name", [audience.name for audience in AUDIENCES])
def test_every_answer_s_headers_are_described(site: Path, name: str) -> None:
    for path, method, operation in operations_of(document(site, name)):
        for status, response in operation["responses"].items():
            place = (path, method, status)
            assert {"X-Request-Id", "traceparent"} <= set(response["headers"]), place
            assert ("RateLimit" in response["headers"]) == bool(operation["security"]), place
            if status in {"429", "503"}:
                assert "Retry-After" in response["headers"], place
            if status == "401":
                assert "WWW-Authenticate" in response["headers"], place


def test_every_public_operation_is_for_somebody(site: Path) -> None:
    told = {(path, method) for one in AUDIENCES for path, method, _ in operations_of(document(site, one.name))}
    public = {
        (path, method)
        for source in service_documents(PUBLIC_URL).values()
        for path, method, _ in operations_of(source)
        if not path.startswith(NOT_FOR_AUDIENCES)
    }
    assert sorted(public - told) == []


def test_no_default_stands_in_a_request_body_that_a_generated_client_would_send(site: Path) -> None:
    """A client that sends a default it was never asked for would confirm other points than those held."""
    for audience in AUDIENCES:
        told = document(site, audience.name)
        for path, method, operation in operations_of(told):
            if path == "/eai/v1/points" and method == "post":
                assert '"default"' not in json.dumps(operation["requestBody"])


def test_security_txt_and_the_catalogue_of_apis_lead_back_here(site: Path) -> None:
    text = (site / ".well-known" / "security.txt").read_text()
    assert re.search(r"^Contact: https://points\.example/developers/security$", text, re.MULTILINE)
    assert re.search(r"^Expires: \d{4}-\d\d-\d\dT00:00:00Z$", text, re.MULTILINE)
    linked = json.loads((site / ".well-known" / "api-catalog").read_text())["linkset"][0]
    assert [one["href"].removeprefix(f"{PUBLIC_URL}/developers/") for one in linked["service-desc"]] == [
        f"openapi/{audience.name}.json" for audience in AUDIENCES
    ]
