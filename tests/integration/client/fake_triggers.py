"""Triggers behind the stand-in for the API: kept in memory, with defaults filled in, changed all together."""

import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.integration.client.fake_api import Answer, Call

DEFAULTS: dict[str, Any] = {
    "pipeline": "p",
    "snapshot": None,
    "parameters": {},
    "steps": {},
    "tags": [],
    "enabled": True,
    "overlap": "allow",
    "max_runs_per_hour": 1000,
    "start_at": None,
}


class FakeTriggers:
    """Answers the calls about triggers; set it as `FakeApi.respond`."""

    def __init__(self, definitions: dict[str, dict[str, Any]]) -> None:
        self.definitions = {name: {**DEFAULTS, **definition} for name, definition in definitions.items()}
        self.page_size = 2

    def __call__(self, call: Call) -> Answer:
        """Answer one call."""
        address = urlsplit(call.path)
        query = parse_qs(address.query)
        match call.method, address.path:
            case "GET", "/triggers":
                return self._page(int(query.get("cursor", ["0"])[0]))
            case "PUT", "/triggers":
                return self._put(call.body, dry_run=query["dry_run"] == ["true"])
        return Answer(404, {"title": "There is no such path", "status": 404})

    def _page(self, start: int) -> Answer:
        names = sorted(self.definitions)
        end = start + self.page_size
        items = [{"name": name, "definition": self.definitions[name]} for name in names[start:end]]
        return Answer(200, {"items": items, "next": str(end) if end < len(names) else None})

    def _put(self, body: dict[str, Any], *, dry_run: bool) -> Answer:
        wanted = {name: {**DEFAULTS, **definition} for name, definition in body["triggers"].items()}
        errors = [
            {"pointer": f"/triggers/{name}/parameters/rows", "detail": "'x' is not of type integer"}
            for name, definition in wanted.items()
            if definition["parameters"].get("rows") == "x"
        ]
        if errors:
            return Answer(422, {"title": "This is not valid", "status": 422, "errors": errors})
        gone = set(self.definitions) - set(wanted) if body["prune"] else set()
        changes = [self._change(name, wanted.get(name)) for name in sorted({*wanted, *gone})]
        plan = hashlib.sha256(json.dumps(changes).encode()).hexdigest()
        if body.get("plan", plan) != plan:
            return Answer(409, {"title": "Not now", "status": 409, "errors": [{"pointer": "/plan", "detail": "No"}]})
        if dry_run:
            return Answer(200, {"written": False, "changes": changes, "plan": plan})
        self.definitions = {
            name: definition for name, definition in {**self.definitions, **wanted}.items() if name not in gone
        }
        told = ("name", "change", "type", "pipeline")
        return Answer(200, {"written": True, "changes": [{name: one[name] for name in told} for one in changes]})

    def _change(self, name: str, after: dict[str, Any] | None) -> dict[str, Any]:
        before = self.definitions.get(name)
        if after is None:
            change = "delete"
        elif before is None:
            change = "create"
        else:
            change = "unchanged" if before == after else "update"
        target = {part: (after or before or {}).get(part) for part in ("type", "pipeline")}
        return {"name": name, "change": change, **target, "before": before, "after": after}
