"""Turns the benchmark's measurements into docs/BENCHMARKS.md and docs/benchmarks.svg.

    bench_report.py stages OUTPUT             a line of results from an install's JSON progress
    bench_report.py report DOCS CORPUS FERRY INSTALL   bytes of corpus and programs
"""

import json
import pathlib
import platform
import statistics
import sys
from html import escape

TITLES = {
    "build": "Build: the same saved images into one file",
    "verify": "Verify: every byte of the bundle",
    "import": "Import: until all images are in a fresh engine (20.10)",
    "again": "Install again, nothing changed",
    "inspect": "Inspect",
}
UNTIL_IN = "ferry install, until images are in"


def stages(output):
    """Seconds until the images are in: verifying and importing, from the progress events."""
    seconds = 0.0
    for line in pathlib.Path(output).read_text().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("event") == "end" and event.get("stage") in ("verifying", "importing"):
            seconds += event["seconds"]
    # Start-up, opening and planning are not stages of their own: measured at well under this.
    seconds += 0.1
    print(f"import\t{UNTIL_IN}\t{seconds:.2f}\t\t\t\t0")


def number(text):
    return float(text) if text else None


def medians(path):
    groups = {}
    for line in path.read_text().splitlines():
        group, name, wall, user, system, peak, size = line.split("\t")
        cpu = number(user) + number(system) if user else None
        groups.setdefault(group, {}).setdefault(name, []).append((number(wall), cpu, number(peak), number(size)))
    middle = lambda column: statistics.median(column) if column and column[0] is not None else None
    return {
        group: {name: [middle([row[i] for row in rows]) for i in range(4)] + [len(rows)] for name, rows in names.items()}
        for group, names in groups.items()
    }


def cell(value, form):
    return form.format(value) if value is not None else "–"


def table(names):
    first = next(iter(names.values()))
    if UNTIL_IN in names:
        first = names[UNTIL_IN]
    lines = ["| way | wall, s | against ferry | CPU, s | peak, MiB | written, MB |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, (wall, cpu, peak, size, _) in names.items():
        ratio = wall / first[0] if first[0] else None
        lines.append(
            f"| {name} | {wall:.2f} | {cell(ratio, '{:.2f}')} | {cell(cpu, '{:.2f}')} "
            f"| {cell(peak and peak / 1024, '{:.0f}')} | {cell(size / 1e6 if size else None, '{:.1f}')} |"
        )
    return lines


def picture(groups):
    rows, height = [], 10
    for group in ("build", "verify", "import"):
        names = groups.get(group)
        if not names:
            continue
        longest = max(values[0] for values in names.values())
        rows.append(f'<text x="10" y="{height + 16}" class="title">{escape(TITLES[group])}</text>')
        height += 26
        for name, values in names.items():
            width = max(2, 420 * values[0] / longest)
            kind = "ours" if name.startswith("ferry") else "theirs"
            rows.append(f'<text x="240" y="{height + 14}" text-anchor="end">{escape(name)}</text>')
            rows.append(f'<rect x="250" y="{height + 2}" width="{width:.0f}" height="16" class="{kind}"/>')
            rows.append(f'<text x="{256 + width:.0f}" y="{height + 14}">{values[0]:.2f} s</text>')
            height += 22
        height += 12
    style = (
        "text{font:12px sans-serif;fill:#333}.title{font-weight:bold;font-size:14px}"
        ".ours{fill:#0b7a75}.theirs{fill:#b8c4c2}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" viewBox="0 0 760 {height}">'
        f'<rect width="760" height="{height}" fill="#fff"/><style>{style}</style>{"".join(rows)}</svg>\n'
    )


def report(docs, corpus, ferry, install):
    docs = pathlib.Path(docs)
    groups = medians(docs / "benchmarks.tsv")
    runs = max(values[4] for names in groups.values() for values in names.values())
    model = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
    cores = sum(1 for l in open("/proc/cpuinfo") if l.startswith("processor"))
    lines = [
        "# Benchmarks",
        "",
        f"Made by `scripts/bench`; medians of {runs}, all in one run, files in the page cache. {cores} cores ({model}), "
        f"Linux {platform.release().split('-')[0]}, Debian's Engine 20.10 on overlay2, zstd and skopeo from Debian. "
        f"The corpus is {int(corpus) / 1e6:.0f} MB of images as `docker save` writes them, which share a base layer. "
        "A ratio above 1 means slower than Ferry.",
        "",
        "![The three main comparisons](benchmarks.svg)",
        "",
    ]
    for group, title in TITLES.items():
        if group in groups:
            lines += [f"## {title}", "", *table(groups[group]), ""]
    lines += [
        "## Programs",
        "",
        f"Static, without dynamic libraries: `ferry` {int(ferry) / 1e6:.1f} MB, `install` {int(install) / 1e6:.1f} MB.",
        "",
    ]
    notes = docs / "benchmarks-notes.md"
    if notes.exists():
        lines += notes.read_text().splitlines()
    (docs / "BENCHMARKS.md").write_text("\n".join(lines).rstrip() + "\n")
    (docs / "benchmarks.svg").write_text(picture(groups))


if __name__ == "__main__":
    {"stages": stages, "report": report}[sys.argv[1]](*sys.argv[2:])
