"""Reads configuration from the environment.

An invalid value raises ImproperlyConfigured, whose sentence names the variable: the start stops.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import ssl
import stat
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

SECRET_MIN_CHARS = 50
SEALING_KEY_MIN_CHARS = 32
DATABASE_SCHEMES = frozenset({"postgresql", "postgres", "sqlite"})
EMAIL_SCHEMES = frozenset({"smtp", "smtp+tls", "smtp+ssl", "consolemail"})
LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

env = environ.Env()
logger = logging.getLogger("pulse")


def switch(name: str, *, default: bool) -> bool:
    """Read an on/off variable."""
    value = env.str(name, default="on" if default else "off").strip().lower()
    if value not in {"on", "off", "true", "false", "1", "0", "yes", "no"}:
        raise ImproperlyConfigured(f'{name} must be "on" or "off", not "{value}"')
    return value in {"on", "true", "1", "yes"}


def choice(name: str, default: str, *, among: tuple[str, ...]) -> str:
    """Read a variable that has one of a few values."""
    value: str = env.str(name, default=default).strip().lower()
    if value not in among:
        raise ImproperlyConfigured(f'{name} must be one of {", ".join(among)}, not "{value}"')
    return value


def number(name: str, *, default: float, least: float, most: float) -> float:
    """Read a number between two bounds."""
    text = env.str(name, default=str(default))
    try:
        value = float(text)
    except ValueError as exc:
        raise ImproperlyConfigured(f'{name} must be a number, not "{text}"') from exc
    if not least <= value <= most:
        raise ImproperlyConfigured(f"{name} must be between {least:g} and {most:g}, not {text}")
    return value


def database_url(*, default: str) -> dict[str, Any]:
    """Read DATABASE_URL. It contains a password, so errors do not repeat it."""
    url: str = env.str("DATABASE_URL", default=default).strip()
    if url.partition(":")[0] not in DATABASE_SCHEMES:
        raise ImproperlyConfigured(
            "DATABASE_URL must be postgresql://user:password@host/name or sqlite:///path"
        )
    try:
        config: dict[str, Any] = env.db_url_config(url)
    except ValueError as exc:
        raise ImproperlyConfigured("DATABASE_URL must be a valid URL") from exc
    if not config.get("NAME"):
        raise ImproperlyConfigured("DATABASE_URL must name a database")
    return config


def origins(name: str) -> frozenset[str]:
    """Read a list of origins, each a scheme and a host, as browsers send them."""
    given = [origin.strip().rstrip("/").lower() for origin in env.list(name, default=[])]
    for origin in given:
        url = urlsplit(origin)
        is_origin = url.scheme in {"http", "https"} and url.netloc and "@" not in url.netloc
        if not is_origin or origin != f"{url.scheme}://{url.netloc}":
            raise ImproperlyConfigured(
                f'{name} must be origins such as https://app.example.com, not "{origin}"'
            )
    return frozenset(given)


def email_url() -> dict[str, Any]:
    """Read EMAIL_URL; empty if unset. It may contain a password, so errors do not repeat it."""
    url: str = env.str("EMAIL_URL", default="").strip()
    if not url:
        return {}
    if url.partition(":")[0] not in EMAIL_SCHEMES:
        raise ImproperlyConfigured(
            "EMAIL_URL must be smtp://, smtp+tls:// or smtp+ssl://user:password@host:port"
        )
    try:
        config: dict[str, Any] = env.email_url_config(url)
    except ValueError as exc:
        raise ImproperlyConfigured("EMAIL_URL must be a valid URL") from exc
    if url.startswith("smtp") and not config.get("EMAIL_HOST"):
        raise ImproperlyConfigured("EMAIL_URL must name a host")
    # Without a user there is no sign-in; without a port, the protocol's default applies.
    return {name: value for name, value in config.items() if value is not None}


def email_from(*, sends: bool) -> str:
    """Read EMAIL_FROM, the sender; required when email is sent."""
    sender: str = env.str("EMAIL_FROM", default="").strip()
    if sends and not sender:
        raise ImproperlyConfigured(
            "EMAIL_FROM must be set to the sender's address when EMAIL_URL is set"
        )
    if sender and ("@" not in sender or not sender.isprintable()):
        raise ImproperlyConfigured(f'EMAIL_FROM must be an email address, not "{sender}"')
    return sender


def private_folder(path: Path) -> Path:
    """Make the folder, and close it and what lies in it to other users of the machine.

    Folders in it are closed as a whole. Databases and keys of an existing installation are closed
    at its next start.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    for each in (path.resolve(), *path.iterdir()):
        try:
            _close_to_others(each)
        except FileNotFoundError:
            continue  # SQLite's own files come and go
        except OSError as exc:
            logger.warning(
                "%s can be read by other users, and its mode cannot be changed: %s",
                each,
                exc.strerror,
            )
    return path


def _close_to_others(path: Path) -> None:
    mode = path.lstat().st_mode
    if not stat.S_ISLNK(mode) and mode & 0o077:
        path.chmod(mode & 0o700)


def secret_key(*, debug: bool, var: Path) -> str:
    """Read SECRET_KEY; in DEBUG, generate one and keep it in `var`."""
    key: str = env.str("SECRET_KEY", default="")
    if key:
        if len(key) < SECRET_MIN_CHARS or len(set(key)) < 5 or key.startswith("django-insecure-"):
            raise ImproperlyConfigured(
                f"SECRET_KEY must be at least {SECRET_MIN_CHARS} random characters"
            )
        return key
    if not debug:
        raise ImproperlyConfigured("SECRET_KEY must be set when DEBUG is off")
    return _kept_key(var / "secret_key")


def secrets_keys(*, debug: bool, var: Path) -> tuple[str, ...]:
    """Read PULSE_SECRETS_KEY; in DEBUG, generate one and keep it in `var`. Empty if unset."""
    text: str = env.str("PULSE_SECRETS_KEY", default="").strip()
    if not text and debug:
        text = _kept_key(var / "secrets_key")
    keys = tuple(key.strip() for key in text.split(",")) if text else ()
    if any(len(key) < SEALING_KEY_MIN_CHARS for key in keys):
        raise ImproperlyConfigured(
            "PULSE_SECRETS_KEY must be one or more keys, comma separated, of at least "
            f"{SEALING_KEY_MIN_CHARS} random characters each"
        )
    return keys


def _kept_key(path: Path) -> str:
    """Return the key of a file, which is made with a random one if there is none."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(64))
    except FileExistsError:
        pass
    return path.read_text()


def allowed_hosts(*, debug: bool) -> list[str]:
    """Read ALLOWED_HOSTS; with DEBUG, which exposes internals, only local hosts are allowed."""
    hosts: list[str] = env.list("ALLOWED_HOSTS", default=LOCAL_HOSTS if debug else [])
    if debug and not set(hosts) <= set(LOCAL_HOSTS):
        raise ImproperlyConfigured(
            "ALLOWED_HOSTS must not name a public host while DEBUG is on; set DEBUG=off"
        )
    if not hosts:
        raise ImproperlyConfigured("ALLOWED_HOSTS must list the hosts that this gateway serves")
    return hosts


def public_url() -> str:
    """Read PULSE_URL, at which people reach this installation; empty if unset."""
    url: str = env.str("PULSE_URL", default="").strip().rstrip("/")
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not url.isprintable() or parts.path or parts.query or parts.username:
        raise ImproperlyConfigured(
            f'PULSE_URL must be a URL without a path, such as https://ai.example.org, not "{url}"'
        )
    return url


def upstream(name: str, *, allow_http: bool) -> str | None:
    """Read a provider's base URL: https, or plain http to a loopback address."""
    url: str = env.str(name, default="").strip().rstrip("/")
    if not url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise ImproperlyConfigured(f'{name} must be a URL, not "{url}"') from exc
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ImproperlyConfigured(f'{name} must be a URL that starts with https://, not "{url}"')
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.hostname):
        raise ImproperlyConfigured(
            f"{name} must use https; to allow plain http, set PULSE_ALLOW_HTTP_UPSTREAM=on"
        )
    return url


def proxy(scheme: str) -> str | None:
    """Read the proxy for addresses of a scheme: `https_proxy`, else `HTTPS_PROXY`.

    It may contain a password, so errors do not repeat it.
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


def proxy_networks() -> list[IPv4Network | IPv6Network]:
    """Read PULSE_PROXY_ADDRESSES: the addresses and networks of the proxies in front."""
    texts = [text.strip() for text in env.list("PULSE_PROXY_ADDRESSES", default=[])]
    try:
        return [ipaddress.ip_network(text) for text in texts if text]
    except ValueError as exc:
        raise ImproperlyConfigured(
            f"PULSE_PROXY_ADDRESSES must be addresses and networks, such as 10.1.2.0/24: {exc}"
        ) from exc


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
        raise ImproperlyConfigured(
            "PULSE_CLIENT_CERT_FILE must be set when PULSE_CLIENT_KEY_FILE is"
        )
    if certificate:
        try:
            # With an empty password: without one, OpenSSL would prompt for it at the terminal.
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
