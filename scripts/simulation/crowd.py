"""Draw any number of passengers from one exact list, block by block, in numpy.

Part of make_titanic.py, which explains it. The 681 tickets of the exact list (roster.py) are the
stock. A larger list draws tickets from it with replacement, and so keeps who travels with whom, and
every joint distribution. These are drawn again for each ticket: the ages (moved by up to two years,
all by the same, and within their age bands), the fare (one of the nearest prices of its class),
survival, names, ticket number and cabin number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from simulation import text as text
from simulation.berths import MARRIED_TITLES
from simulation.families import Passenger, Ticket
from simulation.roster import BANDS, draw_roster

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["PassengerId", "Survived", "Pclass", "Name", "Sex", "Age"]
COLUMNS += ["SibSp", "Parch", "Ticket", "Fare", "Cabin", "Embarked"]
TEXT_COLUMNS = ["Name", "Sex", "Ticket", "Cabin", "Embarked"]
BLOCK = 100_000  # passengers drawn at a time: what bounds the memory
SEXES = ("female", "male")
PORTS = ("", "C", "Q", "S")
# What random numbers are for: lists of one seed share none of them.
EXACT, BLOCKS, SPLIT = 1, 2, 3
MOST_YEARS = 2  # by which ages move
MOST_STEPS = 3  # by which a fare moves in its class's tickets, sorted by price
NICKNAMED = 0.04  # of those who are not called by a husband's name
MAIDEN_NAMED = 0.8  # of married women
STRIDE = 61_803  # has no factor in common with BLOCK, so that i * STRIDE % BLOCK is a permutation
FIT_ROUNDS = 2000
FIT_TOLERANCE = 0.02  # passengers, by which an expected count may miss the figure


class Uniform:
    """Uniform numbers in [0, 1) by a stream that numpy promises to keep: raw PCG64 output."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def __call__(self, size: int) -> np.ndarray:
        return (self._bits.random_raw(size) >> np.uint64(11)) * 2.0**-53

    def below(self, n: int, size: int) -> np.ndarray:
        """Return `size` integers from 0 to n - 1."""
        return (self(size) * n).astype(np.int64)


@dataclass(frozen=True)
class Block:
    """Passengers in rows: arrays of one length. Age in 1/100 year, -1 unknown; fare in pence."""

    passenger_id: np.ndarray
    survived: np.ndarray
    pclass: np.ndarray
    name: np.ndarray
    male: np.ndarray
    age: np.ndarray
    sibsp: np.ndarray
    parch: np.ndarray
    ticket: np.ndarray
    fare: np.ndarray
    cabin: np.ndarray
    port: np.ndarray

    def __len__(self) -> int:
        return len(self.passenger_id)

    def rows(self, start: int = 0, stop: int | None = None) -> Block:
        """Return the rows from `start` to before `stop`."""
        return replace(self, **{f.name: getattr(self, f.name)[start:stop] for f in fields(self)})

    def texts(self) -> Iterator[tuple]:
        """Return the cells of a CSV file by row: nothing for a gap, "7.25" and not "7.2500"."""
        cells = {f.name: getattr(self, f.name) for f in fields(self)}
        cells["male"] = np.array(SEXES, dtype=object)[self.male]
        cells["age"] = _number_texts(self.age, 100)
        cells["fare"] = _number_texts(self.fare, 240)
        cells["port"] = np.array(PORTS, dtype=object)[self.port]
        return zip(*(c.tolist() for c in cells.values()), strict=True)

    def frame(self) -> pd.DataFrame:
        """Return the rows as a table with the types that pandas gives the CSV file; a gap is
        NaN."""
        import pandas as pd

        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["male"] = np.array(SEXES, dtype=object)[self.male]
        values["age"] = np.where(self.age < 0, np.nan, self.age / 100)
        values["fare"] = np.round(self.fare / 240, 4)
        values["cabin"] = np.where(self.cabin == "", np.nan, self.cabin)
        values["port"] = np.array([np.nan, *PORTS[1:]], dtype=object)[self.port]
        frame = pd.DataFrame(dict(zip(COLUMNS, values.values(), strict=True)))
        text_type = "str" if int(pd.__version__.split(".")[0]) >= 3 else "object"
        return frame.astype(dict.fromkeys(TEXT_COLUMNS, text_type))


def _number_texts(counts: np.ndarray, unit: int) -> np.ndarray:
    """Return the text of counts / unit, "" below zero; each distinct number is written once."""
    distinct, which = np.unique(counts, return_inverse=True)
    values = np.round(distinct / unit, 4).tolist()
    texts = ["" if value < 0 else repr(value).removesuffix(".0") for value in values]
    return np.array(texts, dtype=object)[which]


class Crowd:
    """All lists of one seed: `exact()` and, of any size, `block()`."""

    def __init__(self, figures: dict, seed: int) -> None:
        self.seed = seed
        self.tickets = draw_roster(figures, seed)
        self._index_tickets()
        self._index_people([p for t in self.tickets for p in t.people])

    def _index_tickets(self) -> None:
        tickets = self.tickets
        self.size = np.array([len(t.people) for t in tickets])
        self.start = np.concatenate([[0], np.cumsum(self.size)[:-1]])
        self.ticket_class = np.array([t.people[0].pclass for t in tickets])
        self.free = np.array([t.free for t in tickets])
        self.pence = np.array([round(t.fare * 240) for t in tickets])
        self.deck = np.array([text.DECKS.index(t.deck) for t in tickets])
        many = np.where(self.ticket_class == 1, (self.size + 1) // 2, 1)
        self.cabin_count = np.minimum(many, text.MOST_CABINS)
        # Tickets in order of class and price: the rank of each, and of its class's first and last
        # for which anything was paid.
        self.by_price = np.lexsort((self.pence, ~self.free, self.ticket_class))
        self.rank = np.argsort(self.by_price)
        paid = [self.rank[(self.ticket_class == c) & ~self.free] for c in (1, 2, 3)]
        self.first_rank = np.array([0, *(r.min() for r in paid)])[self.ticket_class]
        self.last_rank = np.array([0, *(r.max() for r in paid)])[self.ticket_class]

    def _index_people(self, people: list[Passenger]) -> None:
        where = {id(p): i for i, p in enumerate(people)}
        self.male = np.array([p.sex == "male" for p in people])
        self.sibsp = np.array([p.sibsp for p in people])
        self.parch = np.array([p.parch for p in people])
        self.port = np.array([PORTS.index(p.port) for p in people])
        self.survived = np.array([p.survived for p in people])
        self.age = np.array([round(p.age * 100) for p in people])
        self.known = np.array([p.age_known for p in people])
        self.titles = np.array([p.title for p in people], dtype=object)
        self.married = np.isin(self.titles, MARRIED_TITLES)
        self.least_age, self.most_age = _age_room(people)
        self.survival_probability = survival_probabilities(people)
        # Steps back to the person whose surname they have; steps to the spouse, 0 without one.
        self.to_head = np.concatenate([_steps_to_head(t) for t in self.tickets])
        self.to_spouse = np.array(
            [where[id(p.spouse)] - i if p.spouse else 0 for i, p in enumerate(people)]
        )

    def exact(self) -> Block:
        """Return the exact list: every ticket of the stock once, as it is."""
        uniform = Uniform(EXACT, self.seed)
        return self._dress(np.arange(len(self.size)), len(self.male), 0, uniform, exact=True)

    def block(self, number: int, rows: int) -> Block:
        """Return block `number` of a larger list, of `rows` <= BLOCK passengers."""
        uniform = Uniform(BLOCKS, self.seed, number)
        picks = uniform.below(len(self.size), rows)
        count = int(np.searchsorted(np.cumsum(self.size[picks]), rows)) + 1
        return self._dress(picks[:count], rows, number, uniform, exact=False)

    def _dress(
        self, picks: np.ndarray, rows: int, number: int, uniform: Uniform, *, exact: bool
    ) -> Block:
        starts = np.concatenate([[0], np.cumsum(self.size[picks])[:-1]])
        ticket = np.repeat(np.arange(len(picks)), self.size[picks])[:rows]
        who = self.start[picks][ticket] + np.arange(rows) - starts[ticket]
        age, pence, survived = self.age[who], self.pence[picks], self.survived[who]
        if not exact:
            age = self._moved_ages(who, ticket, starts, uniform)
            pence = self._moved_fares(picks, uniform)
            survived = uniform(rows) < self.survival_probability[who]
        names = self._names(who, uniform)
        tickets = self._ticket_texts(picks, number, uniform)
        cabins = self._cabin_texts(picks, uniform)
        order = np.argsort(
            uniform(rows), kind="stable"
        )  # so that families are not in adjacent rows
        who, ticket = who[order], ticket[order]
        return Block(
            passenger_id=number * BLOCK + 1 + np.arange(rows),
            survived=survived[order].astype(np.int64),
            pclass=self.ticket_class[picks][ticket],
            name=names[order],
            male=self.male[who].astype(np.int64),
            age=np.where(self.known[who], age[order], -1),
            sibsp=self.sibsp[who],
            parch=self.parch[who],
            ticket=tickets[ticket],
            fare=pence[ticket],
            cabin=cabins[ticket],
            port=self.port[who],
        )

    def _moved_ages(
        self, who: np.ndarray, ticket: np.ndarray, starts: np.ndarray, uniform: Uniform
    ) -> np.ndarray:
        """Return ages, all of a ticket moved by the same where each stays in its age band."""
        years = uniform.below(2 * MOST_YEARS + 1, len(starts)) - MOST_YEARS
        moved = self.age[who] + 100 * years[ticket]
        fits = (moved >= self.least_age[who]) & (moved <= self.most_age[who])
        all_fit = np.logical_and.reduceat(fits, starts)
        return np.where(all_fit[ticket], moved, self.age[who])

    def _moved_fares(self, picks: np.ndarray, uniform: Uniform) -> np.ndarray:
        steps = uniform.below(2 * MOST_STEPS + 1, len(picks)) - MOST_STEPS
        rank = np.clip(self.rank[picks] + steps, self.first_rank[picks], self.last_rank[picks])
        return np.where(self.free[picks], 0, self.pence[self.by_price[rank]])

    def _names(self, who: np.ndarray, uniform: Uniform) -> np.ndarray:
        rows, here = len(who), np.arange(len(who))
        surname = _pick(text.surnames(), uniform(rows))[here - self.to_head[who]]
        men = _pick(text.given_names("male"), uniform(rows))
        given_name = np.where(self.male[who], men, _pick(text.given_names("female"), uniform(rows)))
        maiden = _pick(text.surnames(), uniform(rows))
        nickname = _pick(text.NICKNAMES, uniform(rows))
        nickname[(uniform(rows) >= NICKNAMED) | self.male[who]] = ""
        # A husband beyond the end of the block has no name here: the wife's own draw replaces it.
        husband = men[np.minimum(here + self.to_spouse[who], rows - 1)]
        husband[~self.married[who] | (uniform(rows) >= MAIDEN_NAMED)] = ""
        parts = (surname, self.titles[who], given_name, husband, maiden, nickname)
        names = map(text.full_name, *(p.tolist() for p in parts))
        return np.fromiter(names, dtype=object, count=rows)

    def _ticket_texts(self, picks: np.ndarray, number: int, uniform: Uniform) -> np.ndarray:
        """Return texts of tickets: a prefix or none, then a unique number that begins with the
        class."""
        unique = number * BLOCK + np.arange(len(picks)) * STRIDE % BLOCK
        prefixes = np.array([[""] * 10, *text.TICKET_PREFIXES.values()], dtype=object)
        prefix = prefixes[self.ticket_class[picks], uniform.below(10, len(picks))]
        parts = zip(
            prefix.tolist(), self.ticket_class[picks].tolist(), unique.tolist(), strict=True
        )
        texts = np.fromiter((f"{p}{c}{u:05d}" for p, c, u in parts), dtype=object, count=len(picks))
        texts[self.free[picks] & (self.ticket_class[picks] == 3)] = text.FREE_TICKET
        return texts

    def _cabin_texts(self, picks: np.ndarray, uniform: Uniform) -> np.ndarray:
        group = self.deck[picks] * text.MOST_CABINS + self.cabin_count[picks] - 1
        room = uniform.below(text.CABINS_ON_DECK, len(picks))
        return np.array(text.cabins(), dtype=object)[group * text.CABINS_ON_DECK + room]


def _pick(choices: list[str], uniform: np.ndarray) -> np.ndarray:
    return np.array(choices, dtype=object)[(uniform * len(choices)).astype(np.int64)]


def _steps_to_head(ticket: Ticket) -> np.ndarray:
    friends = ticket.people[0].role in ("alone", "staff")
    return np.zeros(len(ticket.people), int) if friends else np.arange(len(ticket.people))


def _age_room(people: list[Passenger]) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest age (1/100 year) of each passenger.

    They are those of the age band, and of the class and sex.
    """
    extremes: dict[tuple, list[float]] = {}
    for p in people:
        extremes.setdefault((p.pclass, p.sex), []).append(p.age)
    room = []
    for p in people:
        low, high = next(b for b in BANDS.values() if b[0] <= p.age < b[1])
        own = extremes[p.pclass, p.sex]
        # Infants' ages are in months: they stay as they are.
        least, most = max(low, 1, min(own)), min(high - 0.01, max(own))
        room.append((p.age, p.age) if p.age < 1 else (math.ceil(least), most))
    hundredths = np.round(np.array(room) * 100).astype(np.int64)
    return hundredths[:, 0], hundredths[:, 1]


def survival_probabilities(people: list[Passenger]) -> np.ndarray:
    """Return each passenger's probability to survive: their sums are the survivors of the list.

    Iterative proportional fitting of the counts, in each class and sex, by age band, by family size
    and by port, and of those by title. Among all probabilities that fit, these assume nothing else.
    """
    survived = np.array([p.survived for p in people], dtype=float)
    groups = [
        [(p.pclass, p.sex, p.age_known and _band(p.age)) for p in people],
        [(p.pclass, p.sex, p.family_size) for p in people],
        [(p.pclass, p.sex, p.port) for p in people],
        [p.title for p in people],
    ]
    lives, dies = np.full(len(people), 0.5), np.full(len(people), 0.5)
    indexes = []
    for group in groups:
        number = {key: i for i, key in enumerate(dict.fromkeys(group))}
        indexes.append(np.array([number[key] for key in group]))
    for _ in range(FIT_ROUNDS):
        worst = 0.0
        for index in indexes:
            wanted = np.bincount(index, survived)
            has, lacks = np.bincount(index, lives), np.bincount(index, dies)
            worst = max(worst, np.abs(has - wanted).max())
            with np.errstate(invalid="ignore", divide="ignore"):
                lives = lives * np.nan_to_num(wanted / has)[index]
                dies = dies * np.nan_to_num((np.bincount(index) - wanted) / lacks)[index]
            total = lives + dies
            lives, dies = lives / total, dies / total
        if worst < FIT_TOLERANCE:
            return lives
    raise ValueError("the counts of survivors could not be fitted: correct the figures")


def _band(age: float) -> str:
    return next(name for name, (low, high) in BANDS.items() if low <= age < high)
