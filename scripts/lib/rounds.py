"""Figures of things that are compared: taken in alternated rounds, told by their medians."""

import statistics


def alternated(measures, rounds, show=lambda name, figures: None):
    """{name: [what its measure returned, a round each]} of {name: measure}; who begins takes turns, so that a drift of
    the machine favours nobody. `show` is called with each."""
    seen = {name: [] for name in measures}
    for number in range(rounds):
        for name in list(measures)[:: 1 if number % 2 == 0 else -1]:
            seen[name].append(measures[name]())
            show(name, seen[name][-1])
    return seen


def medians(seen, figure=lambda one: one):
    """The median of a figure of each of `alternated`'s names, in their order."""
    return [statistics.median(map(figure, each)) for each in seen.values()]


def ratios(seen, figure=lambda one: one):
    """Of each round the second ÷ the first of two: what drifts from round to round is in neither."""
    first, second = seen.values()
    return [figure(b) / figure(a) for a, b in zip(first, second)]


def apart(seen, figure=lambda one: one):
    """Those, as words."""
    return ", ".join(f"{ratio:.2f}" for ratio in ratios(seen, figure))
