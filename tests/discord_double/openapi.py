"""Requests against Discord's own OpenAPI document."""

import copy
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.discord_double.errors import Problem

_HERE = Path(__file__).resolve()
_SCHEMAS = "#/components/schemas/"

# Discord takes more than its document says. What interactions.py sends besides, by schema: ``nsfw``
# is documented elsewhere, and a subcommand comes with what only a command has.
_OF_COMMANDS = frozenset(
    {"contexts", "default_member_permissions", "dm_permission", "integration_types", "nsfw"}
)
# Kept attachments are sent as they were received.
_OF_ATTACHMENTS = frozenset(
    {
        "content_scan_version",
        "content_type",
        "ephemeral",
        "flags",
        "height",
        "proxy_url",
        "size",
        "url",
        "width",
    }
)
_TAKEN_BESIDES = {
    "ApplicationCommandUpdateRequest": _OF_COMMANDS,
    "ApplicationCommandCreateRequest": _OF_COMMANDS,
    "ApplicationCommandPatchRequestPartial": _OF_COMMANDS,
    "ApplicationCommandSubcommandOption": _OF_COMMANDS,
    "MessageAttachmentRequest": _OF_ATTACHMENTS,
}
# Every option comes with all that any option can have, as null or empty.
_EMPTY: dict[str, Any] = {"enum": [None, [], False]}
# Messages of all kinds are made in one place, and come with switches that are off.
_OFF = {"const": False}
_OF_MESSAGES = {"enforce_nonce": _OFF, "pass_self_into_delete": {}, "tts": _OFF}
_MESSAGES = frozenset(
    {
        "IncomingWebhookInteractionRequest",
        "IncomingWebhookRequestPartial",
        "IncomingWebhookUpdateForInteractionCallbackRequestPartial",
        "IncomingWebhookUpdateRequestPartial",
        "MessageEditRequestPartial",
    }
)


def document_path() -> Path:
    """Where the document is looked for."""
    named = os.environ.get("DISCORD_OPENAPI")
    return Path(named) if named else _HERE.parents[3] / "shared/openapi/discord-openapi.json"


class RequestSchemas:
    """Validators for bodies, each made when it is first needed.

    Without the document nothing is found wrong here, and the double's own checks remain.
    """

    def __init__(self, document: dict[str, Any] | None) -> None:
        """See :func:`load`."""
        self._document = document
        self._validators: dict[tuple[str, str], Draft202012Validator | None] = {}
        resource = Resource.from_contents(document or {}, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource("urn:discord", resource)

    @property
    def is_there(self) -> bool:
        """Whether there is a document."""
        return self._document is not None

    def problems(self, method: str, template: str, body: Any) -> Iterator[Problem]:
        """What the document has against a body."""
        validator = self._validator(method, template)
        if validator is None:
            return
        for error in validator.iter_errors(body):
            yield _problem(error)

    def unknown_query(self, method: str, template: str, names: set[str]) -> set[str]:
        """Which of a query's names the document doesn't have."""
        operation = self._operation(method, template)
        if operation is None:
            return set()
        assert self._document is not None
        parameters = operation.get("parameters", []) + self._document["paths"][template].get(
            "parameters", []
        )
        return names - {p["name"] for p in parameters if p.get("in") == "query"}

    def knows(self, method: str, template: str) -> bool:
        """Whether the document has the operation; True without a document."""
        return not self.is_there or self._operation(method, template) is not None

    def _operation(self, method: str, template: str) -> dict[str, Any] | None:
        if self._document is None:
            return None
        operation: dict[str, Any] | None = (
            self._document["paths"].get(template, {}).get(method.lower())
        )
        return operation

    def _validator(self, method: str, template: str) -> Draft202012Validator | None:
        key = (method, template)
        if key not in self._validators:
            self._validators[key] = self._make(method, template)
        return self._validators[key]

    def _make(self, method: str, template: str) -> Draft202012Validator | None:
        operation = self._operation(method, template)
        if operation is None or "requestBody" not in operation:
            return None
        pointer = "/".join(
            part.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
            for part in (
                "paths",
                template,
                method.lower(),
                "requestBody",
                "content",
                "application/json",
                "schema",
            )
        )
        return Draft202012Validator(
            {"$ref": f"urn:discord#/{pointer}"},
            registry=self._registry,
            format_checker=Draft202012Validator.FORMAT_CHECKER,
        )


@cache
def load(path: Path) -> RequestSchemas:
    """Read the document, adapted to what Discord really does; once a process."""
    if not path.exists():
        return RequestSchemas(None)
    document = json.loads(path.read_bytes())
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        if "properties" in schema and "additionalProperties" not in schema:
            for key in _TAKEN_BESIDES.get(name, ()):
                schema["properties"].setdefault(key, {})
            if name in _MESSAGES:
                schema["properties"] = _OF_MESSAGES | schema["properties"]
            is_option = name.startswith("ApplicationCommand") and name.endswith("Option")
            schema["additionalProperties"] = _EMPTY if is_option else False
        permissions = schema.get("properties", {}).get("default_member_permissions")
        if permissions is not None and name in _TAKEN_BESIDES:
            # Responses give it as text, and Discord takes back what it gives.
            permissions["type"] = ["integer", "string", "null"]
    # Libraries send ids as numbers, which Discord takes.
    schemas["SnowflakeType"] = {**copy.deepcopy(schemas["SnowflakeType"])}
    schemas["SnowflakeType"]["type"] = ["string", "integer"]
    return RequestSchemas(document)


def _problem(error: ValidationError) -> Problem:
    """The one most telling thing of an error: unions fail in all their alternatives."""
    while error.context:
        chosen = _of_the_same_type(error) or error.context
        inner = best_match(chosen)
        if inner is None:
            break
        error = inner
    path = ".".join(str(part) for part in error.absolute_path)
    return Problem(path, error.message[:300])


def _of_the_same_type(error: ValidationError) -> list[ValidationError]:
    """The errors of those alternatives that are for the instance's ``type``."""
    assert error.context is not None
    wrong = {
        part.schema_path[0]
        for part in error.context
        if list(part.relative_path)[-1:] == ["type"] and len(part.relative_path) == 1
    }
    return [part for part in error.context if part.schema_path[0] not in wrong]
