"""From a budget to the rows behind it: the parameters of the cost explorer and of the requests."""

from __future__ import annotations

from datetime import date
from urllib.parse import urlencode

from gateway.core.request_body import NAME_IN_JSON
from gateway.models import Budget


def costs_query(budget: Budget, first: date, last: date) -> str:
    """Return the cost explorer's parameters for the budget's calls on these days.

    It filters by one model: of several, the costs of all models are shown.
    """
    by = "model" if first == last else "day"
    return urlencode({**_costs(budget), "from": f"{first}", "to": f"{last}", "groupBy": by})


def part_costs_query(
    budget: Budget, value: str, first: date, last: date, *, is_rotated: bool = False
) -> str:
    """Return the cost explorer's parameters for the calls of one value on these days.

    Its filter takes one key: of one that `is_rotated`, the costs of all keys are shown.
    """
    name = {**NAME_IN_JSON, "key_id": "keyId"}[budget.each]
    of_value = {"groupBy": "key"} if is_rotated else {name: value, "groupBy": "model"}
    return urlencode({**_costs(budget), **of_value, "from": f"{first}", "to": f"{last}"})


def requests_query(budget: Budget, **wanted: str) -> str:
    """Return the parameters of the list of requests for the budget's calls, of any model."""
    return urlencode({**wanted, **_filters(budget)})


def one_model(budget: Budget) -> str | None:
    """Return the budget's model where it is one: filters take no more, and no wildcard."""
    is_one = len(budget.models) == 1 and "*" not in budget.models[0]
    return budget.models[0] if is_one else None


def _costs(budget: Budget) -> dict[str, str]:
    model = one_model(budget)
    return {**_filters(budget), **({"model": model} if model else {})}


def _filters(budget: Budget) -> dict[str, str]:
    values = {name: getattr(budget, column) for column, name in NAME_IN_JSON.items()}
    return {name: value for name, value in values.items() if value is not None}
