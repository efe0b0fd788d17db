"""The Helm chart beside the manifests that it stands for, by the few forms of templates that it uses: no helm is here."""

import hashlib
import json
import re
import tomllib

import yaml

from machine import ROOT

CHART = ROOT / "configs" / "helm" / "fanwire"
MANIFEST = ROOT / "configs" / "kubernetes" / "fanwire.yaml"
RELEASE = "fanwire"
# What the chart's $own stands for in the namespace "default".
OWN = [f"{RELEASE}-admin{end}" for end in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
INSTANCE = "app.kubernetes.io/instance"


def template(text, values):
    """The text with what stands in braces; a form that it does not know is an error."""

    forms = {
        r"\.Release\.Name": lambda _: RELEASE,
        r"\.Values\.(\w+)": lambda name: str(values[name]),
        r"toJson \.Values\.(\w+)": lambda name: json.dumps(values[name]),
        r"\.Values\.(\w+) \| indent 4": lambda name: re.sub(r"(?m)^", "    ", values[name]),
        r"concat \$own \.Values\.(\w+) \| toJson \| quote":
            lambda name: json.dumps(json.dumps(OWN + values[name], separators=(",", ":"))),
        r"- \$\w+ := .*": lambda _: "",
        r"sha256sum \.Values\.(\w+) \| quote": lambda name: f'"{hashlib.sha256(values[name].encode()).hexdigest()}"',
    }

    def replaced(found):
        for form, value in forms.items():
            if match := re.fullmatch(form, found[1]):
                return value(match[1] if match.groups() else None)
        raise RuntimeError(f"a form of templates that is not known: {found[0]}")

    return re.sub(r"\{\{ ?(-? ?.*?) \}\}", replaced, text)


def plain(document):
    """An object without what only the chart gives it; the gateway's configuration as what it means."""
    if isinstance(document, dict):
        dropped = (INSTANCE, "annotations")
        read = lambda key, value: tomllib.loads(value) if key == "fanwire.toml" else plain(value)
        return {key: read(key, value) for key, value in document.items() if key not in dropped}
    return [plain(item) for item in document] if isinstance(document, list) else document


def differing():
    """Kinds and names of objects that the chart, with its own values, and the manifests do not have alike."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    texts = [template(path.read_text(), values) for path in (CHART / "templates").glob("*.yaml")]
    named = lambda documents: {(one["kind"], one["metadata"]["name"]): plain(one) for one in documents if one}
    chart, manifests = named(map(yaml.safe_load, texts)), named(yaml.safe_load_all(MANIFEST.read_text()))
    return sorted(name for name in chart.keys() | manifests.keys() if chart.get(name) != manifests.get(name))
