"""Which requests policies apply to, in words: names of keys and people instead of their ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Q
from django.utils.timezone import now

from costs.explorer.names import emails
from gateway.console.sentences import listed
from gateway.guards.policies import NAMED_BY
from orgs.core.spelling import folded
from orgs.models import ApiKey

# Column by column, the values that a policy names: `Policy.applies_to`.
Named = Mapping[str, Sequence[str]]

NAMED_WORDS: Final = {
    name: "key" if name == "key_id" else name.removesuffix("_id").replace("_", " ")
    for name in NAMED_BY
}
REVOKED: Final = "revoked"
EXPIRED: Final = "expired"
GONE: Final = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedKey:
    """A key through all of its rotations; `over` says why none of them works, if so."""

    name: str
    public: str
    over: str = ""

    @property
    def typed(self) -> str:
        """What finds it in a form. Another key can have the name of one that is revoked."""
        return f"pulse_{self.public}" if self.over == REVOKED else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedValue:
    """A value that a policy names; `over` says why no request has it any more, if so."""

    word: str
    value: str
    over: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyNames:
    """The keys that policies name, by the id of the first of their rotations, and the people."""

    keys: Mapping[str, NamedKey] = field(default_factory=dict)
    people: Mapping[str, str] = field(default_factory=dict)

    def chips(self, named: Named) -> list[NamedValue]:
        """Return what a policy names, in words."""
        return [chip for name in NAMED_WORDS for chip in self._chips(name, named)]

    def typed(self, named: Named) -> dict[str, list[str]]:
        """Return what a policy names as one types it, by column."""
        typed = {name: [*values] for name, values in named.items()}
        for name, known in (
            ("key_id", {key_id: key.typed for key_id, key in self.keys.items()}),
            ("user_id", self.people),
        ):
            if name in typed:
                # A person is named by the id, and by the address as callers send it.
                values = [known.get(value, value) for value in typed[name]]
                typed[name] = [*{folded(value): value for value in values}.values()]
        return typed

    def sentence(self, named: Named) -> str:
        """Return what a policy applies to, such as "key CI or Build, and team research"."""
        parts = [
            f"{word} {listed(values, before_last='or')}"
            for name, word in NAMED_WORDS.items()
            if (values := [chip.value for chip in self._chips(name, named)])
        ]
        *first, last = parts
        return f"{', '.join(first)}, and {last}" if first else last

    def has_no_valid_key(self, named: Named) -> bool:
        """Whether a policy names keys, and none of them works any more."""
        keys = self._chips("key_id", named)
        return bool(keys) and all(chip.over for chip in keys)

    def _chips(self, name: str, named: Named) -> list[NamedValue]:
        """Return the values of one column, a person by id and address once."""
        chips = [self._chip(name, value) for value in named.get(name) or ()]
        if name != "user_id":
            return chips
        return [*{folded(chip.value): chip for chip in chips}.values()]

    def _chip(self, name: str, value: str) -> NamedValue:
        word = NAMED_WORDS[name]
        if name == "key_id":
            key = self.keys.get(value)
            if key is None:
                return NamedValue(word=word, value=value, over=GONE)
            return NamedValue(word=word, value=key.name, over=key.over)
        return NamedValue(
            word=word, value=self.people.get(value, value) if name == "user_id" else value
        )


def names_in(organization_id: UUID, policies: Iterable[Named]) -> PolicyNames:
    """Return the names of the keys and people of policies; two queries for any number of them.

    Keys of another organization have none.
    """
    key_ids, user_ids = set[str](), set[str]()
    for named in policies:
        key_ids.update(filter(uuid_in, named.get("key_id") or ()))
        user_ids.update(named.get("user_id") or ())
    people = emails(organization_id=organization_id, user_ids=user_ids) if user_ids else {}
    return PolicyNames(keys=_keys(organization_id, key_ids) if key_ids else {}, people=people)


def _keys(organization_id: UUID, key_ids: set[str]) -> dict[str, NamedKey]:
    moment = now()
    rotations: dict[str, list[ApiKey]] = {}
    of = Q(pk__in=key_ids) | Q(lineage_id__in=key_ids)
    for key in ApiKey.objects.filter(of, org=organization_id).order_by("id"):
        rotations.setdefault(str(key.lineage_id or key.pk), []).append(key)
    return {
        key_id: NamedKey(name=keys[-1].name, public=keys[-1].public, over=_over(keys, moment))
        for key_id, keys in rotations.items()
    }


def _over(keys: Sequence[ApiKey], moment: datetime) -> str:
    if any(key.is_usable_at(moment) for key in keys):
        return ""
    return REVOKED if all(key.revoked_at is not None for key in keys) else EXPIRED


def uuid_in(text: str) -> UUID | None:
    """Return the id that a text is, if it is one."""
    try:
        return UUID(text)
    except ValueError:
        return None
