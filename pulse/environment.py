"""Reads configuration from the environment; a bad value stops the start with a sentence."""

from __future__ import annotations

import ipaddress
import os
import secrets
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

SECRET_MIN_CHARS = 50
DATABASE_SCHEMES = frozenset({"postgresql", "postgres", "sqlite"})
EMAIL_SCHEMES = frozenset({"smtp", "smtp+tls", "smtp+ssl", "consolemail"})
LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

env = environ.Env()


def switch(name: str, *, default: bool) -> bool:
    """Read an on/off variable."""
    value = env.str(name, default="on" if default else "off").strip().lower()
    if value not in {"on", "off", "true", "false", "1", "0", "yes", "no"}:
        raise ImproperlyConfigured(f'{name} is "{value}"; it is "on" or "off"')
    return value in {"on", "true", "1", "yes"}


def number(name: str, *, default: float, least: float, most: float) -> float:
    """Read a number within its bounds."""
    text = env.str(name, default=str(default))
    try:
        value = float(text)
    except ValueError as exc:
        raise ImproperlyConfigured(f'{name} is "{text}"; it is a number') from exc
    if not least <= value <= most:
        raise ImproperlyConfigured(f"{name} is {text}; it is between {least:g} and {most:g}")
    return value


def database_url(*, default: str) -> dict[str, Any]:
    """Read DATABASE_URL, which has a password: errors do not repeat it."""
    url: str = env.str("DATABASE_URL", default=default).strip()
    if url.partition(":")[0] not in DATABASE_SCHEMES:
        raise ImproperlyConfigured(
            "DATABASE_URL is neither postgresql://user:password@host/name nor sqlite:///path"
        )
    try:
        config: dict[str, Any] = env.db_url_config(url)
    except ValueError as exc:
        raise ImproperlyConfigured("DATABASE_URL is not a URL that can be read") from exc
    if not config.get("NAME"):
        raise ImproperlyConfigured("DATABASE_URL names no database")
    return config


def email_url() -> dict[str, Any]:
    """Read EMAIL_URL, which may have a password: errors do not repeat it. Nothing without one."""
    url: str = env.str("EMAIL_URL", default="").strip()
    if not url:
        return {}
    if url.partition(":")[0] not in EMAIL_SCHEMES:
        raise ImproperlyConfigured(
            "EMAIL_URL is not smtp://, smtp+tls:// or smtp+ssl://user:password@host:port"
        )
    try:
        config: dict[str, Any] = env.email_url_config(url)
    except ValueError as exc:
        raise ImproperlyConfigured("EMAIL_URL is not a URL that can be read") from exc
    if url.startswith("smtp") and not config.get("EMAIL_HOST"):
        raise ImproperlyConfigured("EMAIL_URL names no host")
    # Without a user there is none to sign in; without a port, it is the protocol's.
    return {name: value for name, value in config.items() if value is not None}


def email_from(*, sends: bool) -> str:
    """Read EMAIL_FROM, the sender; it is required where anything is sent."""
    sender: str = env.str("EMAIL_FROM", default="").strip()
    if sends and not sender:
        raise ImproperlyConfigured("EMAIL_FROM is not set; e-mail needs a sender's address")
    if sender and ("@" not in sender or not sender.isprintable()):
        raise ImproperlyConfigured(f'EMAIL_FROM is "{sender}"; it is not an e-mail address')
    return sender


def secret_key(*, debug: bool, var: Path) -> str:
    """Read SECRET_KEY; in DEBUG make one that lasts, kept in `var`."""
    key: str = env.str("SECRET_KEY", default="")
    if key:
        if len(key) < SECRET_MIN_CHARS or len(set(key)) < 5 or key.startswith("django-insecure-"):
            raise ImproperlyConfigured(
                f"SECRET_KEY is too weak; use {SECRET_MIN_CHARS} or more random characters"
            )
        return key
    if not debug:
        raise ImproperlyConfigured("SECRET_KEY is not set; it is required when DEBUG is off")
    path = var / "secret_key"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(64))
    except FileExistsError:
        pass
    return path.read_text()


def allowed_hosts(*, debug: bool) -> list[str]:
    """Read ALLOWED_HOSTS; DEBUG shows too much to be open to others."""
    hosts: list[str] = env.list("ALLOWED_HOSTS", default=LOCAL_HOSTS if debug else [])
    if debug and not set(hosts) <= set(LOCAL_HOSTS):
        raise ImproperlyConfigured(
            "DEBUG is on and ALLOWED_HOSTS names a public host; set DEBUG=off"
        )
    if not hosts:
        raise ImproperlyConfigured("ALLOWED_HOSTS is empty; name the hosts this gateway answers to")
    return hosts


def upstream(name: str, *, allow_http: bool) -> str | None:
    """Read a provider's base URL: https, or plain http to this machine."""
    url: str = env.str(name, default="").strip().rstrip("/")
    if not url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise ImproperlyConfigured(f'{name} is "{url}"; it is not a URL') from exc
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ImproperlyConfigured(f'{name} is "{url}"; it is a URL with https://')
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.hostname):
        raise ImproperlyConfigured(
            f"{name} is plain http; use https, or set PULSE_ALLOW_HTTP_UPSTREAM=on"
        )
    return url


def proxy(scheme: str) -> str | None:
    """Read the proxy for addresses of a scheme: `https_proxy`, else `HTTPS_PROXY`.

    It may have a password: errors do not repeat it.
    """
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
        url: str = env.str(name, default="").strip()
        if not url:
            continue
        url = url if "://" in url else f"http://{url}"
        try:
            parts = urlsplit(url)
            is_good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            is_good = False
        if not is_good or not url.isprintable():
            raise ImproperlyConfigured(
                f"{name} must be a URL, such as http://proxy.example.org:3128"
            )
        return url
    return None


def no_proxy() -> str:
    """Read the hosts that are reached without a proxy."""
    hosts: str = env.str("no_proxy", default="") or env.str("NO_PROXY", default="")
    return hosts


def certificate_authorities() -> tuple[str | None, str | None]:
    """Read SSL_CERT_FILE and SSL_CERT_DIR, which replace the system's certificate authorities."""
    file: str = env.str("SSL_CERT_FILE", default="").strip()
    folders: str = env.str("SSL_CERT_DIR", default="").strip()
    if file:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
        except OSError as exc:
            raise ImproperlyConfigured(
                f'SSL_CERT_FILE must be a PEM file of certificates; "{file}" is not: {exc}'
            ) from exc
    if folders and not any(Path(folder).is_dir() for folder in folders.split(os.pathsep)):
        raise ImproperlyConfigured(f'SSL_CERT_DIR must be a directory; "{folders}" is not')
    return file or None, folders or None


def client_certificate() -> tuple[str | None, str | None]:
    """Read the files of the certificate that is shown to providers, and of its key."""
    certificate: str = env.str("PULSE_CLIENT_CERT_FILE", default="").strip()
    key: str = env.str("PULSE_CLIENT_KEY_FILE", default="").strip()
    if key and not certificate:
        raise ImproperlyConfigured("PULSE_CLIENT_KEY_FILE needs PULSE_CLIENT_CERT_FILE beside it")
    if certificate:
        try:
            # With an empty password: without one, OpenSSL would ask for it at the terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key or None, "")
        except OSError as exc:
            raise ImproperlyConfigured(
                "PULSE_CLIENT_CERT_FILE and PULSE_CLIENT_KEY_FILE must be PEM files of a "
                f"certificate and its key, which must not be encrypted: {exc}"
            ) from exc
    return certificate or None, key or None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
