"""The list of sentences: it is current, and it has those of code, templates and scripts."""

from __future__ import annotations

from docs import sentences


def test_list_is_current() -> None:
    assert sentences.LIST.read_text() == sentences.listing(), "run python -m docs.sentences"


def test_code_has_its_texts_without_docstrings_and_queries() -> None:
    source = '''
"""A docstring of several words."""
SQL = "SELECT id FROM hold WHERE org_id = %s"
raise Refused("invalid_request", f"{name} must be a {kind or 'plain old'} string")
field = CharField(label="Name", max_length=3, help_text="Leave empty.")
'''
    assert list(sentences.of_code(source)) == [
        "{…} must be a {…} string",
        "plain old",
        "Name",
        "Leave empty.",
    ]


def test_template_has_its_texts_and_labels() -> None:
    template = (
        "{# a comment #}{% comment %}Not shown{% endcomment %}"
        '<p title="A hint">Costs of <b>{{ name }}</b>.</p><script>let a = "not this";</script>'
        "{% if is_on %}On{% else %}Off for now{% endif %}"
    )
    assert list(sentences.of_template(template)) == [
        "A hint",
        "Costs of {…}.",
        "On",
        "Off for now",
    ]


def test_script_has_its_texts() -> None:
    script = '"use strict"; // not "this one"\nsay(`${n} new requests`); say("Try it again.");\n'
    assert list(sentences.of_script(script)) == ["{…} new requests", "Try it again."]
