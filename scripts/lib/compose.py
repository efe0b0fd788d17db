"""What configs/ says of the image in several places, held against each other: names, ports, files, services."""

import json
import re
import tomllib

import yaml

from machine import ROOT

CONFIGS = ROOT / "configs"
CONTAINERFILE = (CONFIGS / "Containerfile").read_text()
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
IMAGE = f"localhost/fanwire:{VERSION}"
NAMING = ("README.md", "configs/Containerfile", "configs/compose.yaml", "configs/kubernetes/fanwire.yaml",
          "configs/helm/fanwire/values.yaml", "gateway/OPERATIONS.md")
# After these words an image is named.
NAMES = r"(?:-t |image: |save |9002:9002 |fanwire-loadgen )((?:\w+/)?fanwire[^\s`]*)"
LOOPBACK = "127.0.0.1"


def copied():
    """Paths that the Containerfile takes from the repository."""
    lines = re.findall(r"^COPY (?!--)(.*) \S+$", CONTAINERFILE, re.MULTILINE)
    return [path for line in lines for path in line.split()]


def misnamed():
    """(file, name) wherever it is not IMAGE."""
    named = [(file, name) for file in NAMING for name in re.findall(NAMES, (ROOT / file).read_text())]
    silent = [(file, "names no image") for file in NAMING if file not in dict(named)]
    return silent + [(file, name) for file, name in named if name != IMAGE]


def wrong():
    """What does not fit in configs/compose.yaml."""
    compose = yaml.safe_load((CONFIGS / "compose.yaml").read_text())
    services, exposed = compose["services"], re.search(r"^EXPOSE (.*)$", CONTAINERFILE, re.MULTILINE)[1].split()
    gateway, found = services["fanwire"], []
    published = dict(reversed(port.rsplit(":", 1)) for port in gateway["ports"])
    admin = published.get(exposed[1], "")
    if sorted(published) != sorted(exposed) or not admin.startswith(f"{LOOPBACK}:"):
        found.append(f"ports {gateway['ports']}, where {exposed} are exposed and the second is for {LOOPBACK}")
    if "fanwire" not in json.loads(gateway["environment"]["FANWIRE_ACCESS__HOSTS"]):
        found.append("FANWIRE_ACCESS__HOSTS lacks the name by which Prometheus asks")
    if any(not port.startswith(LOOPBACK) for port in services["prometheus"]["ports"]):
        found.append("Prometheus is reached from elsewhere")
    mounted = {}
    for service in services.values():
        for volume in service.get("volumes", ()):
            source, target = volume.split(":")[:2]
            mounted[target] = source
            if not (source in compose["volumes"] or (CONFIGS / source).is_file()):
                found.append(f"{source} is no file beside it and no volume")
    return found + scraped(services, exposed, mounted)


def scraped(services, exposed, mounted):
    """What does not fit in configs/prometheus.yml."""
    config, found = yaml.safe_load((CONFIGS / "prometheus.yml").read_text()), []
    for job in config["scrape_configs"]:
        for target in (target for static in job["static_configs"] for target in static["targets"]):
            name, port = target.split(":")
            if name not in services or port != exposed[1]:
                found.append(f"it scrapes {target}, which is no service's admin listener")
    for path in (*config["rule_files"], "prometheus.yml"):
        if mounted.get(f"/etc/prometheus/{path}") != f"./{path}":
            found.append(f"{path} is not mounted beside its configuration")
    return found
