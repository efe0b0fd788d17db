"""What Grafana demands of a board that it imports, as far as this repository's uses it."""

import re

FIELDS = {"__inputs": list, "__requires": list, "uid": str, "title": str, "schemaVersion": int, "panels": list,
          "templating": dict, "time": dict, "annotations": dict, "refresh": str, "tags": list}
# {type of a panel: what it has beside title, id and gridPos}
PANELS = {"row": ("collapsed", "panels"), "timeseries": ("datasource", "targets", "fieldConfig", "options"),
          "stat": ("datasource", "targets", "fieldConfig", "options")}
# Of the units that Grafana knows by name.
UNITS = ("none", "short", "s", "ms", "bytes", "decbytes", "Bps", "cps", "percent", "percentunit", "dateTimeFromNow")
COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}


def wrong(board):
    """What does not hold of it, in words."""
    found = [f"{key} is missing or no {kind.__name__}" for key, kind in FIELDS.items()
             if not isinstance(board.get(key), kind)]
    if found:
        return found
    inputs = {f"${{{one['name']}}}" for one in board["__inputs"] if one["pluginId"] == SOURCE["type"]}
    required = {one["id"] for one in board["__requires"] if one["type"] == "panel"}
    if SOURCE["uid"] not in inputs:
        found.append(f"__inputs does not ask for {SOURCE['uid']}")
    ids = [panel.get("id") for panel in board["panels"]]
    if len(set(ids)) < len(ids) or not all(isinstance(one, int) for one in ids):
        found.append(f"ids of panels are not numbers of their own: {ids}")
    variables = {one["name"] for one in board["templating"]["list"]}
    for panel in board["panels"]:
        title = panel.get("title") or f"panel {panel.get('id')} without a title"
        if panel.get("type") not in PANELS:
            found.append(f"{title}: type {panel.get('type')} is not known")
            continue
        if panel["type"] not in required | {"row"}:
            found.append(f"{title}: __requires does not name {panel['type']}")
        if lacks := [key for key in (*PANELS[panel["type"]], "title", "gridPos") if key not in panel]:
            found.append(f"{title}: {', '.join(lacks)} missing")
        elif panel["type"] != "row":
            found += [f"{title}: {what}" for what in queried(panel, variables)]
    return [*found, *overlapping(board["panels"])]


def queried(panel, variables):
    """What does not hold of a panel that shows figures."""
    if (unit := panel["fieldConfig"].get("defaults", {}).get("unit")) not in UNITS:
        yield f"unit {unit} is not known"
    if panel["datasource"] != SOURCE:
        yield f"data source {panel['datasource']}"
    marks = [target.get("refId") for target in panel["targets"]]
    if not marks or len(set(marks)) < len(marks) or not all(re.fullmatch("[A-Z]", mark or "") for mark in marks):
        yield f"refIds {marks}"
    for target in panel["targets"]:
        if not target.get("expr") or target.get("datasource") != SOURCE:
            yield f"a target without a query or with another data source: {target}"
        elif unknown := set(re.findall(r"\$(?!__)(\w+)", target["expr"])) - variables:
            yield f"no variable is called {', '.join(unknown)}"


def overlapping(panels):
    """Places outside the grid, and pairs of panels in one place."""
    taken = {}
    for panel in panels:
        place = panel.get("gridPos", {})
        if set(place) != set("hwxy") or place["w"] < 1 or place["h"] < 1 or not 0 <= place["x"] <= COLUMNS - place["w"]:
            yield f"{panel.get('title')}: gridPos {place}"
            continue
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        for title in {taken[cell] for cell in cells & taken.keys()}:
            yield f"{panel.get('title')} overlaps {title}"
        taken |= dict.fromkeys(cells, panel.get("title"))
