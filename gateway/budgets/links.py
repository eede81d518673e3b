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
    model = one_model(budget)
    wanted = {**_filters(budget), **({"model": model} if model else {})}
    return urlencode({**wanted, "from": f"{first}", "to": f"{last}", "groupBy": by})


def requests_query(budget: Budget, **wanted: str) -> str:
    """Return the parameters of the list of requests for the budget's calls, of any model."""
    return urlencode({**wanted, **_filters(budget)})


def one_model(budget: Budget) -> str | None:
    """Return the budget's model where it is one: filters take no more, and no wildcard."""
    is_one = len(budget.models) == 1 and "*" not in budget.models[0]
    return budget.models[0] if is_one else None


def _filters(budget: Budget) -> dict[str, str]:
    values = {name: getattr(budget, column) for column, name in NAME_IN_JSON.items()}
    return {name: value for name, value in values.items() if value is not None}
