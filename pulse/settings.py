"""All settings, from the environment. docs/configuration.md lists each one."""

from __future__ import annotations

import hashlib
import hmac
import os
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF

from gateway.providers.vendors import vendors
from pulse.environment import (
    allowed_hosts,
    certificate_authorities,
    choice,
    client_certificate,
    database_url,
    email_from,
    email_url,
    env,
    no_proxy,
    number,
    origins,
    private_folder,
    proxy,
    proxy_networks,
    public_url,
    secret_key,
    secrets_keys,
    switch,
    upstream,
)

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION: str = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())["project"]["version"]
# What this process makes, such as a database elsewhere, is for its user alone.
os.umask(0o077)
VAR_DIR = private_folder(BASE_DIR / "var")  # the database and the keys

# DEBUG=off is production. Otherwise only this machine is served: loopback only, the sandbox on, a
# generated secret key. Django's technical error pages appear only with an explicit DEBUG=on.
LOCAL = switch("DEBUG", default=True)
DEBUG = LOCAL and "DEBUG" in os.environ
SECRET_KEY = secret_key(debug=LOCAL, var=VAR_DIR)
ALLOWED_HOSTS = allowed_hosts(debug=LOCAL)
PULSE_URL = public_url()
# Where `serve` keeps the URL that it serves, for links of other commands on this machine.
SERVED_URL_FILE = VAR_DIR / "served_url"

# Keys created with one SECRET_KEY are invalid with another: changing it revokes every API key.
API_KEY_PEPPER = hmac.digest(SECRET_KEY.encode(), b"pulse api keys", hashlib.sha256)
WEBHOOK_PEPPER = hmac.digest(SECRET_KEY.encode(), b"pulse webhook secrets", hashlib.sha256)
PROMPT_HASH_KEY = hmac.digest(SECRET_KEY.encode(), b"pulse prompt hashes", hashlib.sha256)

# What providers' secrets in the database are sealed with: the first seals, any opens.
SECRETS_KEYS = secrets_keys(debug=LOCAL, var=VAR_DIR)

INSTALLED_APPS = [
    "orgs",
    "costs",
    "gateway",
    "pulse",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "template_partials",
    "csp",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "pulse.server.lock_waits.LockWaitMiddleware",
    "pulse.server.compression.CompressionMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "pulse.server.caching.no_store_middleware",  # static files, answered above, are not private
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "orgs.audit.middleware.actor_middleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "pulse.server.queries.QueryMiddleware",
]

ROOT_URLCONF = "pulse.urls"
ASGI_APPLICATION = "pulse.asgi.application"
AUTH_USER_MODEL = "orgs.User"
# By name: the organizations' app imports neither the ledger nor budgets.
TIME_ZONE_CHANGED = "gateway.budgets.operations.follow_time_zone"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "requests"
LOGOUT_REDIRECT_URL = "login"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["orgs.templatetags.organization_forms"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "orgs.auth.access.navigation",
            ],
        },
    }
]

# --- database ---------------------------------------------------------------------------------

# Pages, commands and the JSON API; the ledger has connections and limits of its own. A page that
# waits for a lock occupies one of the few that run at once, and a migration that waits for a table
# keeps all others from it.
LOCK_WAIT_S = 3
SQLITE_LOCK_WAIT_S = 5  # of the whole file
SQLITE = {
    "transaction_mode": "IMMEDIATE",  # a transaction that reads first could not upgrade to a write
    "timeout": SQLITE_LOCK_WAIT_S,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
}


def _database() -> dict[str, Any]:
    config = database_url(default=f"sqlite:///{VAR_DIR}/pulse.sqlite3")
    if config["ENGINE"] == "django.db.backends.sqlite3":
        return config | {"OPTIONS": SQLITE}
    options = {"connect_timeout": 5} | config.get("OPTIONS", {})
    # The later one counts, so that DATABASE_URL can have another.
    options["options"] = f"-c lock_timeout={LOCK_WAIT_S}s {options.get('options', '')}".rstrip()
    return config | {"CONN_MAX_AGE": 0, "OPTIONS": options}


DATABASES = {"default": _database()}

# --- passwords and sessions -------------------------------------------------------------------

PASSWORD_HASHERS = [
    "orgs.auth.hashing.OneAtATimeArgon2",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
PASSWORD_RESET_TIMEOUT = int(timedelta(days=3).total_seconds())
SESSION_COOKIE_AGE = int(timedelta(days=7).total_seconds())
# Browsers take a cookie of such a name only from this host over https: no other host of its domain
# can set one.
_cookie_prefix = "" if LOCAL else "__Host-"
SESSION_COOKIE_NAME = f"{_cookie_prefix}sessionid"
CSRF_COOKIE_NAME = f"{_cookie_prefix}csrftoken"
DEVICE_COOKIE_NAME = f"{_cookie_prefix}pulse_device"
SESSION_COOKIE_SECURE = not LOCAL
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = not LOCAL
CSRF_COOKIE_SAMESITE = "Lax"
# Messages may name people and keys: they stay here, and not in a cookie.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# --- browser security headers -----------------------------------------------------------------

SECURE_SSL_REDIRECT = not LOCAL and switch("PULSE_HTTPS_REDIRECT", default=True)
_hsts = choice("PULSE_HSTS", "off" if LOCAL else "on", among=("off", "on", "subdomains", "preload"))
SECURE_HSTS_SECONDS = 0 if _hsts == "off" else int(timedelta(days=365).total_seconds())
SECURE_HSTS_INCLUDE_SUBDOMAINS = _hsts in {"subdomains", "preload"}
SECURE_HSTS_PRELOAD = _hsts == "preload"
# Other hosts of the domain are not this installation's to decide on: PULSE_HSTS does.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # probes speak plain http inside a cluster
# Proxies whose X-Forwarded-For and X-Forwarded-Proto count: the server applies them.
PROXY_NETWORKS = proxy_networks()
if switch("PULSE_BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

# --- language, time, static files -------------------------------------------------------------

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = VAR_DIR / "static"
SERVESTATIC_USE_FINDERS = LOCAL
SERVESTATIC_AUTOREFRESH = LOCAL
SERVESTATIC_ALLOW_ALL_ORIGINS = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if LOCAL
        else "servestatic.storage.CompressedManifestStaticFilesStorage"
    },
}

# --- the gateway ------------------------------------------------------------------------------

BODY_MAX_BYTES = 32 * 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_MAX_BYTES
# Whose pages may call the API with a key: `https://app.example.com`.
CORS_ORIGINS = origins("PULSE_CORS_ORIGINS")
# How long a provider may take: the fields of `gateway.upstream.network.TimeLimits`.
TIME_LIMITS: dict[str, float] = {
    "connect_s": number("PULSE_CONNECT_TIMEOUT_S", default=10, least=0.1, most=3600),
    "first_byte_s": number("PULSE_FIRST_BYTE_TIMEOUT_S", default=300, least=0.1, most=3600),
    "idle_s": number("PULSE_IDLE_TIMEOUT_S", default=300, least=0.1, most=3600),
    "total_s": number("PULSE_PROVIDER_TIMEOUT_S", default=3600, least=1, most=3600),
}
# How long running calls may take once the process is asked to stop.
DRAIN_S = number("PULSE_DRAIN_S", default=120, least=0, most=3600)
SANDBOX = switch("PULSE_SANDBOX", default=LOCAL)
_allow_http = switch("PULSE_ALLOW_HTTP_UPSTREAM", default=False)

# name -> (key, base URL or None for the vendor's own)
PROVIDERS = {
    name: (
        next(filter(None, (env.str(key, default="") for key in vendor.key_variables)), ""),
        upstream(vendor.base_url_variable, allow_http=_allow_http),
    )
    for name, vendor in vendors().items()
}

# --- how the providers are reached: the fields of `gateway.upstream.network.Network` -----------

_ca_file, _ca_dir = certificate_authorities()
_client_cert_file, _client_key_file = client_certificate()
# Proxies' URLs may contain a password; Django's technical pages hide settings named SECRET.
SECRET_PROXIES: dict[str, Any] = {"http_proxy": proxy("http"), "https_proxy": proxy("https")}
NETWORK: dict[str, Any] = {
    "no_proxy": no_proxy(),
    "ca_file": _ca_file,
    "ca_dir": _ca_dir,
    "client_cert_file": _client_cert_file,
    "client_key_file": _client_key_file,
    # Each running stream has its own connection.
    "connections_per_origin": int(
        number("PULSE_UPSTREAM_CONNECTIONS", default=4000, least=1, most=100_000)
    ),
}

# --- alerts -----------------------------------------------------------------------------------

_email = email_url()
SENDS_EMAIL = bool(_email)
EMAIL_BACKEND = _email.get("EMAIL_BACKEND", "django.core.mail.backends.dummy.EmailBackend")
EMAIL_HOST = _email.get("EMAIL_HOST", "localhost")
EMAIL_HOST_USER = _email.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = _email.get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = _email.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _email.get("EMAIL_USE_SSL", False)
EMAIL_PORT = _email.get("EMAIL_PORT", 465 if EMAIL_USE_SSL else 587 if EMAIL_USE_TLS else 25)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = email_from(sends=SENDS_EMAIL)
ALERTS_EVERY_S = number("PULSE_ALERTS_EVERY_S", default=60, least=0, most=86_400)
ALERTS_RETRY_S = number("PULSE_ALERTS_RETRY_S", default=30, least=0.1, most=600)
ALERTS_SPIKE_MIN_NANOEUR = round(
    number("PULSE_ALERTS_SPIKE_MIN_EUR", default=5, least=0.01, most=1_000_000) * 10**9
)
ALERTS_PRIVATE_HOSTS = switch("PULSE_ALERTS_PRIVATE_HOSTS", default=False)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "filters": {"few": {"()": "pulse.logs.FewAMinute"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line"},
        "few": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["few"]},
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "pulse": {"level": "INFO"},
        # A line for each page that is refused, and for each unknown host and missing CSRF token.
        "django.request": {"handlers": ["few"], "propagate": False},
        "django.security": {"handlers": ["few"], "propagate": False},
        "uvicorn.error": {"level": "ERROR"},  # a warning for each connection that sends garbage
    },
}
