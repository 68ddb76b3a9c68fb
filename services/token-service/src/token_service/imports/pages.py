"""`/campaign-lists`: a person uploads a list, sees what would become of it, and downloads it with its links."""

import re
from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter, Request
from shared.dependencies import provided
from shared.errors import Malformed, PayloadTooLarge, Refusal, UnsupportedMediaType
from shared.web.cross_site import CrossSiteRequest, foreign_origin_of
from shared.web.forms import MAX_FIELD_CHARACTERS
from shared.web.pages import Pages
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from token_service.imports.uploads import MAX_BYTES, ListGone, Upload, Uploads
from token_service.onboarding_client import Session
from token_service.pages.access import as_admin

PATH: Final = "/campaign-lists"
#: The fields beside the file: what rows get that have no value of their own.
_DEFAULTS: Final = ("campaign_id", "base_url", "duration")
_CHARSETS: Final = ("windows-1252",)
_FORM_BYTES: Final = MAX_BYTES + 64_000
_ID: Final = re.compile(r"[0-9a-f]{32}")
_LONGEST_NAME: Final = 100

router = APIRouter(include_in_schema=False)


@router.api_route(PATH, methods=["GET", "HEAD"])
async def form(request: Request) -> Response:
    async def show(_session: Session) -> Response:
        return _form(request, {}, None)

    return await as_admin(request, show)


@router.post(PATH, max_body_size=_FORM_BYTES)
async def upload(request: Request) -> Response:
    async def keep(session: Session) -> Response:
        fields, content, name = await _read(request)
        if content is None:
            return _form(request, fields, None, status=400, is_file_missing=True)
        charset = fields.get("charset") if fields.get("charset") in _CHARSETS else None
        defaults = {field: fields[field] for field in _DEFAULTS if fields.get(field)}
        try:
            upload_id = await _uploads(request).keep(
                session.tenant, session.user_id, Upload(name, content, charset, defaults)
            )
        except (Malformed, UnsupportedMediaType) as refusal:
            return _form(request, fields, refusal, status=400)
        return provided(request.app, Pages).redirect(f"{PATH}/{upload_id}")

    return await as_admin(request, keep, here=PATH)


@router.api_route(f"{PATH}/{{upload_id}}", methods=["GET", "HEAD"])
async def preview(request: Request, upload_id: str) -> Response:
    async def show(session: Session) -> Response:
        kept, seen = await _uploads(request).preview(session.tenant, session.user_id, _known(upload_id))
        return provided(request.app, Pages).render(
            request, "list.html", file_name=kept.name, seen=seen, action=f"{PATH}/{upload_id}", back=PATH
        )

    return await as_admin(request, show)


@router.post(f"{PATH}/{{upload_id}}")
async def issue(request: Request, upload_id: str) -> Response:
    if foreign_origin_of(request) is not None:
        raise CrossSiteRequest

    async def give(session: Session) -> Response:
        links = await _uploads(request).issue(session.tenant, session.user_id, _known(upload_id))
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="{_file_name(links.name)}"',
        }
        return Response(links.content, headers=headers, media_type=links.media_type)

    return await as_admin(request, give, here=PATH)


async def _read(request: Request) -> tuple[dict[str, str], bytes | None, str]:
    """The form's texts, the content of its file, and the file's name."""
    if foreign_origin_of(request) is not None:
        raise CrossSiteRequest
    try:
        async with request.form(max_files=1, max_fields=20, max_part_size=MAX_FIELD_CHARACTERS) as sent:
            fields = {name: value.strip() for name, value in sent.items() if isinstance(value, str)}
            file = sent.get("file")
            if not isinstance(file, UploadFile) or not file.filename:
                return fields, None, ""
            content = await file.read(MAX_BYTES + 1)
            name = file.filename
    except HTTPException as unreadable:
        # Of a form that is none; the limit of the body speaks for itself.
        if unreadable.status_code != 400:
            raise
        return {}, None, ""
    if len(content) > MAX_BYTES:
        raise PayloadTooLarge(f"A list has at most {MAX_BYTES} bytes here. Longer ones come over the API.")
    return fields, content or None, name[-_LONGEST_NAME:]


def _form(
    request: Request,
    fields: Mapping[str, str],
    refusal: Refusal | None,
    *,
    status: int = 200,
    is_file_missing: bool = False,
) -> Response:
    return provided(request.app, Pages).render(
        request,
        "lists.html",
        status=status,
        here=PATH,
        fields=fields,
        refusal=refusal,
        is_file_missing=is_file_missing,
        most=MAX_BYTES // 1_000_000,
    )


def _known(upload_id: str) -> str:
    if not _ID.fullmatch(upload_id):
        raise ListGone
    return upload_id


def _file_name(name: str) -> str:
    """`customers.csv` → `customers-links.csv`, in characters that every system takes."""
    stem, _, ending = name.rpartition(".")
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", stem or ending).strip("-.") or "list"
    suffix = ending.lower() if ending.lower() in {"csv", "ndjson", "jsonl", "tsv", "txt"} else "csv"
    return f"{plain}-links.{suffix}"


def _uploads(request: Request) -> Uploads:
    return provided(request.app, Uploads)
