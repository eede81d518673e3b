"""Django admin of the gateway's rooms, for operators, where Django looks for it."""

from gateway.alerts.admin import AlertAdmin, AlertChannelAdmin, AlertDeliveryAdmin, LeaseAdmin
from gateway.aliases.admin import AliasAdmin
from gateway.budgets.admin import BudgetAdmin
from gateway.policies.admin import PolicyAdmin
from gateway.requests.admin import AiRequestLogAdmin

__all__ = [
    "AiRequestLogAdmin",
    "AlertAdmin",
    "AlertChannelAdmin",
    "AlertDeliveryAdmin",
    "AliasAdmin",
    "BudgetAdmin",
    "LeaseAdmin",
    "PolicyAdmin",
]
