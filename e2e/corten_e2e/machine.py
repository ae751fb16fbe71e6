"""What a cluster could leave behind on a machine, read before and after."""

import json
import os
import subprocess


def lines(*command):
    return sorted(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())


def processes():
    """Every process of the binary under test and everything in a control group of a cluster, by pid and command line."""
    binary = os.path.realpath(os.environ.get("CORTEN", "corten"))
    found = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as handle:
                command = handle.read().replace(b"\0", b" ").decode(errors="replace").strip()
            with open(f"/proc/{entry}/cgroup", encoding="utf-8") as handle:
                contained = "/corten-" in handle.read()
            executable = os.readlink(f"/proc/{entry}/exe")
        except OSError:
            continue
        if contained or executable == binary:
            found.add((int(entry), command))
    return found


def cgroups():
    found = set()
    for base, directories, _ in os.walk("/sys/fs/cgroup"):
        found.update(os.path.join(base, name) for name in directories)
    return found


def files(*places):
    found = set()
    for place in places:
        for base, directories, names in os.walk(place):
            found.update(os.path.join(base, name) for name in (*directories, *names))
    return found


def forwarding():
    found = set()
    base = "/proc/sys/net/ipv4/conf"
    for name in os.listdir(base):
        with open(f"{base}/{name}/forwarding", encoding="ascii") as handle:
            found.add((name, handle.read().strip()))
    return found


def snapshot(home):
    """The machine's state as sets, named, that must come out equal."""
    with open("/proc/self/mountinfo", encoding="utf-8") as handle:
        mounts = {line.split(" ", 3)[3] for line in handle}
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout)
    return {
        "processes": processes(),
        "mounts": mounts,
        "interfaces": {link["ifname"] for link in links},
        "addresses": set(lines("ip", "-o", "addr")),
        "routes": set(lines("ip", "route", "show", "table", "all")),
        "nftables": set(lines("nft", "list", "tables")),
        "network namespaces": set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set(),
        "cgroups": cgroups(),
        # kubectl keeps a cache of its own below the home directory.
        "files": {path for path in files("/run", "/etc", "/var/lib/kubelet", "/opt/cni", home) if "/.kube/cache" not in path and not path.endswith("/.kube")},
        "forwarding": forwarding(),
    }


def left_behind(before, after):
    """A dictionary of what the second snapshot has and the first has not, empty where nothing was left."""
    return {name: sorted(map(str, after[name] - before[name])) for name in before if after[name] - before[name]}
