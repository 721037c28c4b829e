"""Draw the title, the fare and the deck of each passenger.

Part of make_titanic.py, which explains it. Titles and decks have the exact counts of the figures,
fares have the quantiles of each class to a penny.
"""

from __future__ import annotations

import math
import random
from itertools import pairwise

from simulation.families import Passenger, Ticket, below, shuffled

FATES = ((True, "survived"), (False, "died"))
BOYS_BELOW = 12  # years; a Master becomes a Mr at this age

# The figures do not say who has the rare titles. They do say that the nobility and the officers
# travelled first class and the clergy second.  title -> sex, class, least age
RARE_TITLES = {
    "Capt": ("male", (1,), 45),
    "Col": ("male", (1,), 40),
    "Major": ("male", (1,), 40),
    "Don": ("male", (1,), 30),
    "Jonkheer": ("male", (1,), 30),
    "Sir": ("male", (1,), 35),
    "Dr": ("male", (1, 2), 25),
    "Rev": ("male", (2,), 25),
    "Lady": ("female", (1,), 35),
    "the Countess": ("female", (1,), 25),
    "Mme": ("female", (1,), 20),
    "Mlle": ("female", (1,), 18),
    "Ms": ("female", (2,), 20),
}
# What makes a ticket more expensive than others of its class, besides the number of its people, as
# log price; these are also our own.
PORT_PREMIUM = {(1, "C"): 0.35, (1, "Q"): -0.15, (3, "C"): -0.1, (3, "Q"): -0.15}
FARE_NOISE = 0.35
MARRIED_TITLES = ("Mrs", "Mme", "Lady", "the Countess")


def draw_titles(people: list[Passenger], titles: dict, rng: random.Random) -> None:
    """Give each passenger a title by sex, age and role in the family.

    Each title has its exact counts, survivors included.
    """
    counts = {title: dict(record) for title, record in titles.items()}
    people = shuffled(people, rng)
    for person in people:
        if person.sex == "male" and person.age < BOYS_BELOW:
            person.title = "Master"
    women = {
        fate: [p for p in people if p.sex == "female" and p.survived is fate]
        for fate in (True, False)
    }
    for record in counts.values():
        record["died"] = record["passengers"] - record["survived"]
    named = ["Miss", "Mrs", *(t for t, (sex, *_) in RARE_TITLES.items() if sex == "female")]
    for fate, key in FATES:
        # The figures give all doctors together: women are as many as other titles leave over.
        for _ in range(len(women[fate]) - sum(counts[t][key] for t in named)):
            _entitle(women[fate], "Dr", (1,), 30)
            counts["Dr"][key] -= 1
    for title, (sex, classes, least_age) in RARE_TITLES.items():
        for fate, key in FATES:
            own = [p for p in people if p.sex == sex and p.survived is fate]
            for _ in range(counts[title][key]):
                _entitle(own, title, classes, least_age)
    for fate, key in FATES:
        ranked = sorted((p for p in women[fate] if not p.title), key=lambda p: -_married(p, rng))
        for i, person in enumerate(ranked):
            person.title = "Mrs" if i < counts["Mrs"][key] else "Miss"
    for person in people:
        person.title = person.title or "Mr"


def _entitle(people: list[Passenger], title: str, classes: tuple[int, ...], least_age: int) -> None:
    """Give `title` to the first of `people` whom it fits; a wife's title to a possible wife."""
    married = title in MARRIED_TITLES
    fits = [
        p
        for p in people
        if not p.title
        and p.pclass in classes
        and p.role in (("spouse", "relative") if married else ("alone", "relative"))
    ]
    if not fits:
        raise ValueError(
            f"no passenger is left for the title {title}; correct the figures for titles"
        )
    # The oldest who fits, where nobody is as old as the title asks for.
    old_enough = [p for p in fits if p.age >= least_age] or sorted(fits, key=lambda p: -p.age)
    old_enough[0].title = title


def _married(person: Passenger, rng: random.Random) -> float:
    """Return a score by which women are called Mrs before others."""
    if person.role in ("parent", "spouse"):
        return 100 + person.age
    if person.role in ("child", "sibling") or person.age < 16:
        return person.age - 100
    # Without a husband in the list, older women and those with a spouse or a child aboard are more
    # likely to be married.
    return person.age + 12 * (person.family_size > 0) + 30 * (person.parch > 2) + 20 * rng.random()


def _fare_score(ticket: Ticket, rng: random.Random) -> float:
    """Return a score that orders the tickets of a class by price: people, port, and noise."""
    first = ticket.people[0]
    aboard = max(1 + max(p.family_size for p in ticket.people), len(ticket.people))
    port = PORT_PREMIUM.get((first.pclass, first.port), 0.0)
    # Three uniform numbers less their mean, doubled: nearly normal, of standard deviation 1.
    noise = 2 * (rng.random() + rng.random() + rng.random() - 1.5)
    return math.log(aboard) + port + FARE_NOISE * noise


def draw_fares(tickets: list[Ticket], quantiles: dict[str, float], rng: random.Random) -> None:
    """Set a fare for each ticket, in integer pence (1/240 pound), with the class's quantiles."""
    scored = [(not t.free, _fare_score(t, rng), i, t) for i, t in enumerate(tickets)]
    ranked = [t for *_, t in sorted(scored)]
    last = sum(len(t.people) for t in tickets) - 1
    anchors = {}  # passenger's rank -> fare, on both sides of each quantile
    for q, fare in quantiles.items():
        position = float(q) * last
        anchors[int(position + 1e-9)] = anchors[math.ceil(position - 1e-9)] = fare
    fixed: list[float | None] = []
    rank = 0
    for ticket in ranked:
        own = [anchors[r] for r in range(rank, rank + len(ticket.people)) if r in anchors]
        fixed.append(0.0 if ticket.free else next((fare for fare in own if fare), None))
        rank += len(ticket.people)
    _fill_fares(ranked, fixed, quantiles["0.05"], rng)


def _fill_fares(
    ranked: list[Ticket], fixed: list[float | None], least: float, rng: random.Random
) -> None:
    """Fill in a few prices between two fixed fares, each for several tickets, in order."""
    free = sum(t.free for t in ranked)
    known = [i for i, fare in enumerate(fixed) if fare is not None and i >= free]
    spans = [(free - 1, known[0], least * 0.7, fixed[known[0]])]
    spans += [(i, j, fixed[i], fixed[j]) for i, j in pairwise(known)]
    for ticket, fare in zip(ranked, fixed, strict=True):
        ticket.fare = _pence(fare or 0.0)
    for before, after, low, high in spans:
        inner = ranked[before + 1 : after]
        prices = [low, high] * (before >= free)
        prices += [low * (high / low) ** rng.random() for _ in range(2 + len(inner) // 3)]
        drawn = sorted(prices[below(len(prices), rng)] for _ in inner)
        for ticket, fare in zip(inner, drawn, strict=True):
            ticket.fare = _pence(fare)


def _pence(pounds: float) -> float:
    return round(round(pounds * 240) / 240, 4)


def draw_decks(tickets: list[Ticket], deck_counts: dict[str, int], rng: random.Random) -> None:
    """Give each ticket a deck, the largest first, so that each deck has its exact count."""
    room = dict(deck_counts)
    room[""] = sum(len(t.people) for t in tickets) - sum(deck_counts.values())
    for ticket in sorted(shuffled(tickets, rng), key=lambda t: -len(t.people)):
        fits = [deck for deck, left in room.items() if left >= len(ticket.people)]
        pick = rng.random() * sum(room[deck] for deck in fits)
        for deck in fits:
            pick -= room[deck]
            if pick < 0:
                break
        ticket.deck = deck
        room[deck] -= len(ticket.people)
