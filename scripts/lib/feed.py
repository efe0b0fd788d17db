"""Feed files: their topics, their last values, interests drawn from them, and one made up."""

import itertools
import json
import random
import re

SPACE = re.compile(r"\s*")


class Feed:
    """`lines` are its updates; `last` maps each topic to (how many updates it has, the last one's data as text)."""

    def __init__(self, path):
        self.path, self.lines, self.last = path, 0, {}
        with open(path) as file:
            for number, line in enumerate(filter(str.strip, file), 1):
                update = json.loads(line)
                texts = {key: line[begin:end] for key, begin, end in members(line, 0)}
                if "data" not in texts:
                    raise ValueError(f"{path}, line {number}: no data; only feeds of whole values are checked here")
                count, _ = self.last.get(update["topic"], (0, None))
                self.last[update["topic"]] = (count + 1, texts["data"])
                self.lines += 1
        self.seconds = update["at_us"] / 1e6


def members(text, at):
    """Yields (key, begin, end) of the members of the JSON object at `at`, then (None, begin, end) of all of it."""
    decoder, begin = json.JSONDecoder(), at
    at = SPACE.match(text, at + 1).end()
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        at = SPACE.match(text, at).end() + 1
        at = SPACE.match(text, at).end()
        _, end = decoder.raw_decode(text, at)
        yield key, at, end
        at = SPACE.match(text, end).end()
        if text[at] == ",":
            at = SPACE.match(text, at + 1).end()
    yield None, begin, at + 1


def interests(topics, rng):
    """Lists of patterns: everything, prefixes of one and two segments, several of them, exact topics."""
    topics = sorted(topics)
    parts = [topic.split(".") for topic in topics]
    prefixes = sorted({".".join(segments[:n]) + ".*" for segments in parts for n in (1, 2) if n < len(segments)})
    lists = [["*"]] + [[prefix] for prefix in prefixes]
    lists += [rng.sample(prefixes, min(2, len(prefixes))) for _ in range(3)]
    lists += [rng.sample(topics, min(count, len(topics))) for count in (1, 1, 3, 3, 10, 10)]
    lists += [[rng.choice(prefixes), rng.choice(topics)] for _ in range(2)]
    return lists


def generate(path, seed, seconds=30, updates=4000):
    """A feed of quotes and trades: busy and quiet topics, numbers and text that must not be re-encoded."""
    rng = random.Random(seed)
    kinds = [("ticker", 30), ("book", 20), ("trade", 19)]
    topics = [f"venue{n % 3}.{kind}.S{n:02}-USD" for kind, count in kinds for n in range(count)]
    weights = [rng.paretovariate(0.8) for _ in topics]
    # Every topic once, so that all exist, then by weight.
    order = topics + rng.choices(topics, weights, k=updates - len(topics))
    times = sorted(rng.randrange(seconds * 1_000_000) for _ in order)
    with open(path, "w") as file:
        for number, at_us, topic in zip(itertools.count(), times, order):
            price = f"{rng.uniform(0.5, 500):.{rng.randrange(1, 6)}f}0"
            text = rng.choice(['"\\u00e9"', '"é \\"data\\": 1"', '{ "data" : 1e2 }', "[1.50, null]", "-0.0"])
            data = f'{{"n":{number}, "price":{price},"symbol":"{topic}", "note":{text}}}'
            file.write(f'{{"at_us":{at_us},"topic":"{topic}","data":{data}}}\n')


def steady(path, seed, topics, seconds):
    """A feed in which every topic changes once in each second, at a moment of its own."""
    rng = random.Random(seed)
    with open(path, "w") as file:
        for second in range(seconds):
            moments = sorted((rng.randrange(1_000_000), topic) for topic in range(topics))
            for at_us, topic in moments:
                data = f'{{"n":{second},"price":{rng.uniform(1, 500):.4f}}}'
                file.write(f'{{"at_us":{second * 1_000_000 + at_us},"topic":"steady.t{topic:02}","data":{data}}}\n')


def generate_books(path, seed, seconds=30, updates=4000):
    """A feed of order books that change level by level and begin anew at times, of trades and of quotes."""
    rng = random.Random(seed)
    books = {f"venue{n % 3}.book.S{n:02}-USD": {} for n in range(12)}
    topics = [*books, *(f"venue.trade.S{n}" for n in range(6)), *(f"venue.ticker.S{n}" for n in range(6))]
    with open(path, "w") as file:
        for number, at_us in enumerate(sorted(rng.randrange(seconds * 1_000_000) for _ in range(updates))):
            topic = rng.choice(topics)
            line = {"at_us": at_us, "topic": topic}
            if topic not in books:
                line["data"] = {"n": number, "price": rng.uniform(1, 500)}
            elif not books[topic] or rng.random() < 0.01:
                prices = {f"{rng.choice('ab')}{rng.randrange(1000)}": str(rng.randrange(1, 99)) for _ in range(200)}
                books[topic] = prices
                line |= {"reset": True, "set": prices}
            else:
                gone = rng.sample(sorted(books[topic]), min(len(books[topic]), rng.randrange(4)))
                new = {f"{rng.choice('ab')}{rng.randrange(1000)}": str(rng.randrange(1, 99)) for _ in range(4)}
                line |= {"set": new, "del": [key for key in gone if key not in new]}
                books[topic] = {key: size for key, size in (books[topic] | new).items() if key not in line["del"]}
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
