"""Django admin of the gateway's rooms, for operators, where Django looks for it."""

from gateway.alerts.admin import (
    AlertAddressAdmin,
    AlertAdmin,
    AlertChannelAdmin,
    AlertDeliveryAdmin,
    LeaseAdmin,
)
from gateway.aliases.admin import AliasAdmin
from gateway.budgets.admin import BudgetAdmin
from gateway.policies.admin import PolicyAdmin
from gateway.provider_rows.admin import ProviderAdmin
from gateway.requests.admin import AiRequestLogAdmin

__all__ = [
    "AiRequestLogAdmin",
    "AlertAddressAdmin",
    "AlertAdmin",
    "AlertChannelAdmin",
    "AlertDeliveryAdmin",
    "AliasAdmin",
    "BudgetAdmin",
    "LeaseAdmin",
    "PolicyAdmin",
    "ProviderAdmin",
]
