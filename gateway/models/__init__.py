"""The gateway's tables, one module for each room: what decides calls and what is kept of them."""

from gateway.models.alerts import Alert, AlertAddress, AlertChannel, AlertDelivery, Lease
from gateway.models.aliases import ModelAlias
from gateway.models.budgets import Budget, BudgetRaise
from gateway.models.kept import KeptId
from gateway.models.policies import Policy
from gateway.models.providers import Provider
from gateway.models.requests import AiRequestLog, IdempotencyKey, RefusedCredentials

__all__ = [
    "AiRequestLog",
    "Alert",
    "AlertAddress",
    "AlertChannel",
    "AlertDelivery",
    "Budget",
    "BudgetRaise",
    "IdempotencyKey",
    "KeptId",
    "Lease",
    "ModelAlias",
    "Policy",
    "Provider",
    "RefusedCredentials",
]
