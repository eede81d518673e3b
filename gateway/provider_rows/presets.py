"""What a row begins with: a known server's values, by its name or by the address of the row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway.providers.presets import ServerPreset, preset_of, presets
from gateway.providers.vendors import Vendor, vendors
from orgs.core.errors import Invalid


def beginning(*, preset: str | None, base_url: str | None) -> tuple[str, dict[str, Any]]:
    """Return the title of the known server, empty if it is none, and the values of its rows.

    It is named, or known by the base URL. Raises Invalid for an unknown name and an invalid URL.
    """
    if base_url:
        _check(base_url)
    if preset is not None:
        server = presets().get(preset)
        vendor = vendors().get(preset)
        if server is None and vendor is None:
            known = ", ".join(sorted({*presets(), *vendors()}))
            raise Invalid(f'Unknown preset "{preset}"; must be one of {known}', field="preset")
    else:
        server = preset_of(base_url) if base_url else None
        vendor = _vendor_at(base_url) if base_url else None
    if server is not None:
        return server.title, _of_server(server, base_url)
    return (vendor.config.title, _of_vendor(vendor)) if vendor else ("", {})


def moved(base_urls: Mapping[str, str], *, old: str, new: str) -> dict[str, str]:
    """Return the URLs of dialects that are elsewhere, after the base URL has changed.

    Those that a known server has beside its old one are beside the new one. Raises Invalid.
    """
    server = preset_of(old)
    _check(new)
    if server is None:
        return dict(base_urls)
    beside = {each: server.base_url_of(each, old) for each in server.base_urls}
    return {
        each: server.base_url_of(each, new) if url == beside.get(each) else url
        for each, url in base_urls.items()
    }


def _check(base_url: str) -> None:
    """Raise Invalid for what the library does not parse; all else is checked with the row."""
    try:
        urlsplit(base_url)
    except ValueError as exc:
        raise Invalid("Not a valid URL", field="base_url") from exc


def _of_server(server: ServerPreset, base_url: str | None) -> dict[str, Any]:
    at = base_url or server.base_url
    return {
        "title": server.title,
        "base_url": at,
        "base_urls": {each: server.base_url_of(each, at) for each in server.base_urls},
        # One's own server has a key or none.
        **({"auth": server.auth} if server.address or server.auth != "bearer" else {}),
        "dialects": list(server.dialects),
        "family": server.family,
        "dropped": list(server.drop),
        "cap_name": server.cap_name,
        "takes_stream_options": server.takes_stream_options,
        "keeps": server.keeps,
    }


def _of_vendor(vendor: Vendor) -> dict[str, Any]:
    config = vendor.config
    [*_, (header, template)] = vendor.credentials.items()
    return {
        "title": config.title,
        "base_url": config.base_url + vendor.version,
        "auth": "bearer" if template != "{}" else f"header:{header}",
        "dialects": sorted(config.dialects),
        "family": config.family,
        "cap_name": config.cap_name,
        "takes_stream_options": config.takes_stream_options,
        "keeps": config.keeps,
        "standard_tier": config.standard_tier,
    }


def _vendor_at(base_url: str) -> Vendor | None:
    host = urlsplit(base_url).hostname
    found = (v for v in vendors().values() if urlsplit(v.config.base_url).hostname == host)
    return next(found, None)
