"""What an AttributionViewer costs in JupyterLab: from a click to its paint, beyond a plain button's round trip.

Run as `python -m benchmarks.bench_attribution_viewer`; it needs Chromium. `--only` chooses a model, `--rounds`
says how often each click is timed. All clicks take turns with the plain button, whose callback sets the text
of an HTML widget. Three figures are printed of each: of medians, of the quickest, and of the processor's time in the
page's main thread and the kernel, which mean something also on a busy machine.
"""

import argparse
import os
import statistics
from collections.abc import Sequence

import torch

from benchmarks.bench_attribution import smollm2_path
from benchmarks.sent_by_viewer import print_sizes
from benchmarks.viewer_in_lab import PAGE_IS_THERE, Click, ViewerInLab, has_chromium, lab

ASKED = 150.0  # milliseconds beyond the round trip
LONG_FRAME = 50.0  # milliseconds
_COUNT = "document.querySelector('.ne-plain-count').textContent"
ROUND_TRIP = Click("round trip", "ne.press('Round trip')", _COUNT, f"{_COUNT} !== before")
_PICTURES = ("Heads", "Layers × tokens", "One head's attention", "All attention", "By token")


def picture(name: str, is_new: bool) -> Click:
    """Another picture, drawn for the first time or again."""
    how = "drawn" if is_new else "again"
    first = "ne.press('Forget pictures')" if is_new else ""
    return Click(
        f"picture {name!r}, {how}",
        f"ne.press({name!r})".replace('"', "`"),
        "ne.picture",
        "ne.picture !== before",
        first,
    )


def rows_by(name: str, act: str) -> Click:
    """Other rows, for which Python is asked."""
    return Click(f"rows: {name}", act, "ne.rows", "ne.rows !== before")


def clicks(number: int) -> list[Click]:
    """What is done in one round, in this order; at its end the page is as it was."""
    row = f"ne.page.querySelectorAll('.ne-rows-grid [data-place]')[{1 + number % 6}]"
    all_again = "ne.choose('{}', 'all')"
    of_answer = "ne.top !== before[0] && ne.node !== before[1] && ne.isIdle"
    both = "[ne.top, ne.node]"
    return [
        Click(
            "sort by a column",
            "ne.page.querySelector('.ne-rows-sort[data-column=\"3\"]').click()",
            "ne.rows",
            "ne.rows !== before",
        ),
        rows_filter("filter in the page", "L1"),
        rows_filter("filter in the page", ""),
        Click(
            "choose a row",
            f"{row}.click()",
            "0",
            f"{row}.getAttribute('aria-selected') === 'true'",
            "ne.page.querySelectorAll('.ne-rows-grid [data-place]')[8].click()",
        ),
        Click(
            "open a node",
            f"{row}.click()",
            "ne.node",
            "ne.node !== before",
            "ne.page.querySelectorAll('.ne-rows-grid [data-place]')[8].click()",
        ),
        rows_by("of one kind", "ne.choose('Kind', 'heads')"),
        rows_by("all", all_again.format("Kind")),
        rows_by("of one layer", "ne.choose('Layer', '1')"),
        rows_by("all", all_again.format("Layer")),
        rows_by("by one column", "ne.choose('by', 'activation')"),
        rows_by("by every column", "ne.choose('by', 'every column')"),
        *(picture(name, True) for name in _PICTURES),
        *(picture(name, False) for name in _PICTURES),
        Click("Back to a held answer", "ne.press('Back')", both, of_answer),
        Click("Forward to a held answer", "ne.press('Forward')", both, of_answer),
    ]


COMPARISONS = [
    Click(
        "compare with the 2nd prompt, held",
        "ne.check('compare with the 2nd prompt')",
        "ne.top",
        "ne.top !== before && ne.isIdle",
    ),
    Click(
        "one prompt again, held", "ne.check('compare with the 2nd prompt')", "ne.top", "ne.top !== before && ne.isIdle"
    ),
]


def rows_filter(name: str, text: str) -> Click:
    """Fewer rows, which the page finds by itself."""
    return Click(name, f"ne.filter('{text}')", "ne.rows", "ne.rows !== before")


ABLATE = Click(
    "an ablation is on view",
    "ne.press('Ablate')",
    "ne.top",
    "ne.top !== before && ne.isIdle",
)
STOP = Click(
    "Stop stops", "ne.press('Stop')", "0", "ne.text('.ne-status').includes('StoppedError')", "ne.press('Ablate')"
)


def measure(what: str, viewer: ViewerInLab, rounds: int, settle: int) -> None:
    """Print the figures of one model and prompt."""
    print(f"{what}: the page is there after {viewer.time(PAGE_IS_THERE) / 1e3:.2f} s")
    viewer.opened.page.wait_for_timeout(3000)
    print(f"{what}: both prompts are on view after {viewer.time(COMPARISONS[0], 500) / 1e3:.2f} s")
    viewer.time(COMPARISONS[1], 2000)
    viewer.opened.page.evaluate("() => ne.write('Node', 'L0MLP')")
    print(f"{what}: an ablation is on view after {viewer.time(ABLATE, 500) / 1e3:.2f} s")
    plain: list[tuple[float, float]] = []
    found: dict[str, list[tuple[float, float]]] = {}
    for of_round in (clicks, lambda _: COMPARISONS):
        for number in range(rounds + 1):
            for click in of_round(number):
                timed = viewer.time(click, settle), viewer.processor
                trip = viewer.time(ROUND_TRIP, settle), viewer.processor
                if number:  # the first round loads and caches
                    found.setdefault(click.name, []).append(timed)
                    plain.append(trip)
    (trip_wall, trip_least), (trip_processor, _) = map(middle_and_least, zip(*plain, strict=True))
    print(
        f"{what}: a plain button takes {trip_wall:.0f} ms (quickest {trip_least:.0f}, processor {trip_processor:.0f})"
    )
    for name, times in found.items():
        (wall, least), (processor, _) = map(middle_and_least, zip(*times, strict=True))
        beyond, at_best, computed = wall - trip_wall, least - trip_least, processor - trip_processor
        met = "met" if beyond <= ASKED else "met at best" if at_best <= ASKED else "MISSED"
        print(
            f"{what}: {name:<40} {beyond:5.0f} ms beyond it (quickest {at_best:5.0f}, processor {computed:5.0f})  "
            f"at most {ASKED:g}: {met}",
            flush=True,
        )


def middle_and_least(times: Sequence[float]) -> tuple[float, float]:
    """The median and the least of some times."""
    return statistics.median(times), min(times)


def stop(what: str, viewer: ViewerInLab) -> None:
    """Print how long an ablation that is stopped goes on."""
    times = []
    for number in range(5):
        viewer.opened.page.evaluate(f"() => ne.write('Node', 'L1N{number}')")
        viewer.opened.page.wait_for_timeout(1500)
        times.append(viewer.time(STOP, 1000))
    print(f"{what}: Stop stops after {statistics.median(times):.0f} ms (longest {max(times):.0f})")


def thousands(what: str, viewer: ViewerInLab) -> None:
    """Print what a thousand rows of each column take, and how ten thousand rows scroll."""
    seconds = viewer.time(rows_by("1,000 of each column", "ne.write('Largest', '1000')"), 2000) / 1e3
    print(f"{what}: 1,000 of each column ({viewer.count()}) are there after {seconds:.2f} s")
    viewer.time(rows_by("by activation", "ne.choose('by', 'activation')"), 1000)
    seconds = viewer.time(rows_by("10,000", "ne.write('Largest', '10000')"), 1000) / 1e3
    print(f"{what}: {viewer.count()} by one column are there after {seconds:.2f} s")
    for n_frames in (400, 2000):
        frames = viewer.scroll(n_frames)
        long = sum(each > LONG_FRAME for each in frames)
        print(
            f"{what}: scrolled in {n_frames} steps: {long} frames over {LONG_FRAME:g} ms, "
            f"longest {max(frames):.0f} ms, median {statistics.median(frames):.1f} ms, "
            f"processor {viewer.processor / n_frames:.1f} ms a step"
        )


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["tiny", "smollm2"])
    parser.add_argument("--tokens", type=int, nargs="*", default=[64, 512])
    parser.add_argument("--sizes-only", action="store_true")
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    runs = [] if options.only == "smollm2" else [("tiny", "tiny", 60)]
    path = smollm2_path()
    if path is not None and options.only != "tiny":
        runs += [("SmolLM2-135M", path, n_tokens) for n_tokens in options.tokens]
    for name, source, n_tokens in runs:
        print_sizes(f"{name}, {n_tokens} tokens", source, n_tokens)
    if options.sizes_only:
        return
    if not has_chromium():
        print("Chromium is not installed: the rest is not measured.")
        return
    with lab() as open_viewer:
        for name, source, n_tokens in runs:
            what = f"{name}, {n_tokens} tokens"
            viewer = open_viewer(source, n_tokens)
            measure(what, viewer, options.rounds, 400 if n_tokens < 512 else 1200)
            if n_tokens >= 512:  # shorter ones are over before one can stop them
                stop(what, viewer)
            thousands(what, viewer)
            print(f"{what}: the kernel's memory in MiB above the model's: {viewer.memory()}")
            viewer.close()
            print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
