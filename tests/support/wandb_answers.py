"""The answers of the small W&B server to queries; each method is a query's first field."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

from tests.support.wandb_store import ENTITY, Store

Variables = dict[str, Any]

_MORE = {"entityName": ENTITY, "createdAt": "", "isBenchmark": False, "user": None}


class Answers:
    """Takes a query's variables, gives what comes under its first field."""

    def __init__(self, store: Store, url: str) -> None:
        self._store = store
        self._url = url

    def viewer(self, given: Variables) -> Variables:
        names = {"entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": ""}
        teams = {"edges": [{"node": {"name": ENTITY}}]}
        return {"id": "1", "flags": "{}", "teams": teams, **names}

    def serverInfo(self, given: Variables) -> Variables:
        return {"features": [], "cliVersionInfo": {"max_cli_version": "9.9.9"}}

    def model(self, given: Variables) -> Variables:
        """What a client that wants to go on with a run is told of it."""
        run = self._store.run(given["project"], given["name"])
        return {**_project(given["project"]), "bucket": run and self._resumed(given)}

    def _resumed(self, given: Variables) -> Variables:
        where = (given["project"], given["name"])
        history = self._store.lines(*where, "wandb-history.jsonl")
        events = self._store.lines(*where, "wandb-events.jsonl")
        summary = self._store.lines(*where, "wandb-summary.json")
        return {
            **self._bucket(*where),
            "summaryMetrics": summary[-1] if summary else "{}",
            "logLineCount": len(self._store.lines(*where, "output.log")),
            "historyLineCount": len(history),
            "eventsLineCount": len(events),
            "historyTail": json.dumps(history[-1:]),
            "eventsTail": json.dumps(events[-1:]),
            "wandbConfig": '{"t": {}}',
        }

    def _bucket(self, project: str, id: str) -> Variables:
        fields = self._store.run(project, id) or {}
        return {
            "id": f"{project}/{id}",
            "name": id,
            "displayName": fields.get("displayName"),
            "description": fields.get("description") or "",
            "config": fields.get("config") or "{}",
            "sweepName": fields.get("sweep"),
            "tags": fields.get("tags") or [],
            "notes": fields.get("notes") or "",
            "historyLineCount": 0,
            "project": _project(project),
        }

    def project(self, given: Variables) -> Variables:
        """A run, or views, as the client's reading side asks for it; there are no artifacts."""
        if "viewType" in given:
            return {"allViews": {"edges": [{"node": view} for view in self._views(given)]}}
        where = (given["project"], given["name"])
        known = self._store.run(*where)
        found = {"internalId": "1", "artifact": None, "run": known and self._read(*where)}
        return {**_project(where[0]), **found}

    def _read(self, project: str, id: str) -> Variables:
        fields = self._store.run(project, id) or {}
        statement = "select complete, exitcode from run where project = ? and id = ?"
        ((complete, code),) = self._store.ask(statement, project, id)
        state = "running" if not complete else "failed" if code else "finished"
        summary = self._store.lines(project, id, "wandb-summary.json")
        return {
            **self._bucket(project, id),
            "state": state,
            "group": fields.get("groupName"),
            "jobType": fields.get("jobType"),
            "commit": None,
            "readOnly": False,
            "createdAt": "2026-01-01T00:00:00",
            "heartbeatAt": "2026-01-01T00:00:00",
            "systemMetrics": "{}",
            "summaryMetrics": summary[-1] if summary else "{}",
            "historyLineCount": len(self._store.lines(project, id, "wandb-history.jsonl")),
            "user": {"name": ENTITY, "username": ENTITY},
            "historyKeys": {"lastStep": -1, "keys": {}},
            "projectId": 1,
        }

    def upsertBucket(self, given: Variables) -> Variables:
        project = given.get("project") or "uncategorized"
        known = self._store.run(project, given["name"])
        self._store.upsert(project, given["name"], given)
        return {"bucket": self._bucket(project, given["name"]), "inserted": known is None}

    def createRunFiles(self, given: Variables) -> Variables:
        folder = f"{self._url}/storage/{ENTITY}/{quote(given['project'], '')}/{given['run']}"
        files = [{"name": name, "uploadUrl": f"{folder}/{quote(name)}"} for name in given["files"]]
        return {"runID": given["run"], "uploadHeaders": [], "files": files}

    def upsertSweep(self, given: Variables) -> Variables:
        count = len(self._store.ask("select id from sweep"))
        id = given.get("id") or f"sweep{count}"
        project = given["projectName"]
        self._store.ask(
            "insert or replace into sweep values (?, ?, ?)", id, project, json.dumps(given)
        )
        sweep = {"name": id, "project": _project(project)}
        return {"sweep": sweep, "configValidationWarnings": []}

    def _views(self, given: Variables) -> list[Variables]:
        rows = self._store.ask("select fields from view where project = ?", given["name"])
        views = [json.loads(fields) for (fields,) in rows]
        return [view for view in views if view["name"] == given["viewName"]]

    def view(self, given: Variables) -> Variables:
        rows = self._store.ask("select fields from view where id = ?", given["reportId"])
        return self._view(json.loads(rows[0][0])) if rows else {}

    def _view(self, fields: Variables) -> Variables:
        names = ("id", "name", "displayName", "description", "type", "spec")
        project = {**_project(fields["projectName"]), "entityName": ENTITY}
        dates = {"createdAt": "2026-01-01T00:00:00", "updatedAt": "2026-01-01T00:00:00"}
        return {**{name: fields.get(name) for name in names}, "project": project, **dates}

    def models(self, given: Variables) -> Variables:
        """The projects of an entity."""
        rows = self._store.ask("select distinct project from run")
        edges = [{"node": {**_project(name), **_MORE}, "cursor": "0"} for (name,) in rows]
        return {"edges": edges, "pageInfo": {"hasNextPage": False, "endCursor": None}}

    def upsertModel(self, given: Variables) -> Variables:
        """Projects are there as soon as somebody writes to them."""
        fields = {**_project(given["input"]["name"]), **_MORE}
        return {"model": fields, "project": fields, "inserted": True}

    def upsertView(self, given: Variables) -> Variables:
        count = len(self._store.ask("select id from view"))
        # As W&B's own: the client strips the padding in addresses and adds it again.
        id = given.get("id") or base64.b64encode(f"View:{count}".encode()).decode()
        fields = {**given, "id": id}
        self._store.ask(
            "insert or replace into view values (?, ?, ?)",
            id,
            given["projectName"],
            json.dumps(fields),
        )
        return {"view": self._view(fields), "inserted": given.get("id") is None}


def _project(name: str) -> Variables:
    return {"id": name, "name": name, "entity": {"id": ENTITY, "name": ENTITY}}
