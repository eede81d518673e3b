"""Thousands of models beside a year of requests, and the pages of models that are measured there.

30 providers of the installation with 100 models each, all of which have prices of three tiers and
bands, and 5,000 requests that were refused without a price. What is there already is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from orgs.models import Organization, User

PROVIDERS: Final = 30
MODELS_EACH: Final = 100
REFUSALS: Final = 5_000
UNPRICED: Final = 500
OPERATOR: Final = "operator@pages.example"
# A model of the year's requests, most of which it has.
USED: Final = "provider=openai&name=gpt-4o-mini-2024-07-18"
_MODEL: Final = "bench-00/model-000-of-a-server"
_LAST: Final = PROVIDERS * MODELS_EACH // 50
PAGES: Final = (
    *(f"/models?page={page}" for page in (1, _LAST // 2, _LAST)),
    *("/models?q=mini", "/models?q=model-09&sort=cost", "/models?sort=input"),
    *("/models?provider=bench-07&sort=output", f"/models/{_MODEL}", "/models/openai/gpt-4o-mini"),
    *("/models/unpriced", "/status", f"/models/set?{USED}", f"/models/factor?{USED}"),
)
FILES: Final = ("/models.csv", "/models.json")
_SHARED: Final = {"action": "preview", "source": "a contract", "starts_at": ""}
# Forms that are sent for a preview: of a price, and of a discount on all of a provider.
PREVIEWS: Final = (
    (
        f"/models/set?{USED}",
        {
            **_SHARED,
            "form-TOTAL_FORMS": "1",
            "form-INITIAL_FORMS": "0",
            "form-0-service_tier": "standard",
            "form-0-above_input_tokens": "0",
            "form-0-input_usd_per_mtok": "0.11",
            "form-0-output_usd_per_mtok": "0.44",
        },
    ),
    (
        f"/models/factor?{USED}",
        {**_SHARED, "kind": "discount", "amount": "10", "place": "", "scope": "provider"},
    ),
)
BANDS: Final = (("standard", 0, 1), ("standard", 200_000, 2), ("priority", 0, 3))


def add_models(organization: Organization) -> User:
    """Add what is missing, and return an operator who is a member of the organization."""
    from django.utils.timezone import now  # noqa: PLC0415  after django.setup

    from costs.models import Rate  # noqa: PLC0415
    from gateway.models import AiRequestLog, Provider  # noqa: PLC0415
    from orgs.models import Membership, User  # noqa: PLC0415

    at, names = now(), [f"bench-{number:02d}" for number in range(PROVIDERS)]
    models = [f"model-{number:03d}-of-a-server" for number in range(MODELS_EACH)]
    if not Provider.objects.filter(name=names[0]).exists():
        Provider.objects.bulk_create(
            Provider(
                name=name,
                title=name,
                base_url="https://models.example.org/v1",
                dialects=["chat"],
                auth="none",
                models=models,
            )
            for name in names
        )
        Rate.objects.bulk_create(
            (row for name in names for row in _rates(name, models, at)), batch_size=500
        )
        AiRequestLog.objects.bulk_create(_refusals(organization, at), batch_size=500)
    operator, _ = User.objects.update_or_create(
        email=OPERATOR, defaults={"is_staff": True, "is_superuser": True}
    )
    Membership.objects.get_or_create(
        org=organization, user=operator, defaults={"role": Membership.Role.MEMBER}
    )
    return operator


def _rates(provider: str, models: list[str], at: datetime) -> Iterator[Any]:
    from costs.models import Rate  # noqa: PLC0415  after django.setup

    for number, model in enumerate(models):
        for tier, above, times in BANDS:
            yield Rate(
                provider=provider,
                model=model,
                service_tier=tier,
                above_input_tokens=above,
                starts_at=at - timedelta(days=30),
                source="benchmark",
                input_usd_per_mtok=Decimal(number + 1) / 100 * times,
                output_usd_per_mtok=Decimal(number + 1) / 25 * times,
                cache_read_usd_per_mtok=Decimal(number + 1) / 1000 * times,
            )


def _refusals(organization: Organization, at: datetime) -> Iterator[Any]:
    from gateway.models import AiRequestLog  # noqa: PLC0415  after django.setup

    for number in range(REFUSALS):
        name = f"unpriced-{number % UNPRICED}"
        yield AiRequestLog(
            org=organization,
            occurred_at=at - timedelta(minutes=5 * number),
            completed_at=at - timedelta(minutes=5 * number),
            channel="api",
            requested_model=f"bench-00/{name}",
            model=name,
            provider="bench-00",
            status=AiRequestLog.Status.BLOCKED,
            code="model_unpriced",
            prompt_hash=f"{number:064x}",
            cost_nanoeur=0,
            decision={},
        )
