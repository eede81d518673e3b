"""Tags by which every form and every question names its organization: builtins of all templates.

`{% csrf_token %}` adds it to each form that is posted, `{% organization_field %}` to those that are
not: `orgs.auth.access` refuses a form of another organization than the active one.
"""

from __future__ import annotations

from django import template
from django.template.base import Parser, Token
from django.template.context import Context
from django.template.defaulttags import CsrfTokenNode
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orgs.auth.access import FORM_ORGANIZATION
from orgs.console.queries import LINK_ORGANIZATION
from orgs.models import Organization

register = template.Library()


class FormTokensNode(CsrfTokenNode):
    """The CSRF token, and the organization that the form was opened in."""

    def render(self, context: Context) -> str:
        """Return the hidden fields."""
        fields = super().render(context)
        organization = _organization(context)
        if organization is None:
            return fields
        return fields + _hidden(FORM_ORGANIZATION, f"{organization.pk}")


@register.tag
def csrf_token(parser: Parser, token: Token) -> FormTokensNode:
    """Return the hidden fields of a form that is posted, in place of Django's one."""
    return FormTokensNode()


@register.simple_tag(takes_context=True)
def organization_field(context: Context) -> str:
    """Return the hidden field of a form that is not posted, such as a button that asks."""
    organization = _organization(context)
    return "" if organization is None else _hidden(LINK_ORGANIZATION, organization.slug)


def _organization(context: Context) -> Organization | None:
    found: Organization | None = (context.get("navigation") or {}).get("organization")
    return found


def _hidden(name: str, value: str) -> SafeString:
    return format_html('<input type="hidden" name="{}" value="{}">', name, value)
