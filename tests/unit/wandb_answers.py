"""The answers of the small W&B server to queries; each method is a query's first field."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.unit.wandb_server import ENTITY, Store

Variables = dict[str, Any]


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
        """A run as the client's reading side asks for it; there are no artifacts."""
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

    def upsertView(self, given: Variables) -> Variables:
        count = len(self._store.ask("select id from view"))
        id = given.get("id") or f"view{count}"
        fields = json.dumps({**given, "id": id})
        self._store.ask(
            "insert or replace into view values (?, ?, ?)", id, given["projectName"], fields
        )
        view = {"id": id, "name": given["name"], "displayName": given["displayName"]}
        return {"view": view, "inserted": given.get("id") is None}


def _project(name: str) -> Variables:
    return {"id": name, "name": name, "entity": {"id": ENTITY, "name": ENTITY}}
