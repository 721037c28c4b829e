"""Draw a list of passengers at random from all whose counts equal the published figures exactly.

Part of make_titanic.py, which explains it. The steps:

1. (SibSp, Parch) counts of each class and sex become families and tickets (families.py).
2. In each class and sex, survivors are drawn within each family size; ages and ports are drawn
   among the survivors and among the others. An exchange between two passengers of one class, sex
   and fate then changes no count by age band, family size or port, survivors included.
3. Such exchanges (Metropolis sampling) go on until the people make sense: a parent is 16 years
   older than a child, those on one ticket board in one port, children travel with parents.
4. Titles, fares and cabins follow, with their own counts and quantiles.
"""

from __future__ import annotations

import bisect
import math
import random
from itertools import pairwise

from simulation.berths import BOYS_BELOW, draw_decks, draw_fares, draw_titles
from simulation.families import Passenger, Ticket, below, families_of_class, shuffled, tickets_of

BANDS = {"0-4": (0, 5), "5-11": (5, 12), "12-15": (12, 16), "16-29": (16, 30)}
BANDS |= {"30-44": (30, 45), "45-59": (45, 60), "60+": (60, 200)}
INFANTS = (0.42, 0.58, 0.67, 0.75, 0.83, 0.92)  # years: 5, 7, 8, 9, 10 and 11 months
GENERATION = 16  # least years between parent and child
IMPOSSIBLE = 40.0  # in units of log probability
SWEEPS = 400  # exchanges tried per passenger in a run
MOST_RUNS = 20

Cell = tuple[int, str]


def draw_roster(figures: dict, seed: int) -> list[Ticket]:
    """Draw a list, ticket by ticket. Raises ValueError where the figures contradict each other."""
    rng = random.Random(f"titanic roster {seed}")  # noqa: S311  a simulation, no secret
    cells = {(c["Pclass"], c["Sex"]): c for c in figures["by_class_and_sex"]}
    people = {cell: _people_of(cell, record) for cell, record in cells.items()}
    tickets = _tickets(figures, people, rng)
    boys = _boys_of_unknown_age(figures, cells)
    for cell, record in cells.items():
        _draw_fates(people[cell], record, rng)
        _draw_ages(people[cell], record, boys if cell == (3, "male") else None, rng)
        _draw_ports(people[cell], record, rng)
    _Exchange(people, tickets, rng).run(SWEEPS * figures["passengers"])
    draw_titles([p for group in people.values() for p in group], figures["titles"], rng)
    for pclass in (1, 2, 3):
        own = [t for t in tickets if t.people[0].pclass == pclass]
        draw_fares(own, figures["fare_per_class"][str(pclass)]["quantiles"], rng)
        draw_decks(own, figures["cabin_known"][str(pclass)]["deck_counts"], rng)
    return tickets


def _people_of(cell: Cell, record: dict) -> list[Passenger]:
    people = []
    for code, count in record["sibsp_parch_counts"].items():
        sibsp, parch = (int(n) for n in code.split(","))
        people += [Passenger(*cell, sibsp, parch) for _ in range(count)]
    return people


def _tickets(
    figures: dict, people: dict[Cell, list[Passenger]], rng: random.Random
) -> list[Ticket]:
    n, tickets = figures["passengers"], figures["tickets"]
    sharing = round(n * tickets["share_of_passengers_on_a_shared_ticket"])
    families = []
    for pclass in (1, 2, 3):
        families += families_of_class(people[pclass, "female"] + people[pclass, "male"], rng)
    free = {int(k): f["free_passages"] for k, f in figures["fare_per_class"].items()}
    return tickets_of(families, free, (tickets["distinct"] - (n - sharing), sharing), rng)


# --- fates, ages, ports: exact in each class and sex ---------------------------------------------


def _draw_fates(people: list[Passenger], record: dict, rng: random.Random) -> None:
    for size, counts in record["family_size(SibSp+Parch)"].items():
        own = shuffled([p for p in people if p.family_size == int(size)], rng)
        for person in own[: counts["survived"]]:
            person.survived = True


def _by_fate(people: list[Passenger], rng: random.Random) -> dict[bool, list[Passenger]]:
    return {
        fate: shuffled([p for p in people if p.survived is fate], rng) for fate in (True, False)
    }


def _draw_ports(people: list[Passenger], record: dict, rng: random.Random) -> None:
    waiting = _by_fate(people, rng)
    for port, counts in record["embarked"].items():
        for fate, count in ((True, counts["survived"]), (False, counts["passengers"])):
            count -= 0 if fate else counts["survived"]
            for _ in range(count):
                waiting[fate].pop().port = port
    # The passengers that are left have no port in the list.


def _draw_ages(
    people: list[Passenger], record: dict, boys: tuple[int, int] | None, rng: random.Random
) -> None:
    """Give every passenger an age. Those that the list leaves out are drawn from the known ones."""
    waiting = _by_fate(people, rng)
    known = _known_ages(record, rng)
    for band, counts in record["by_age_band"].items():
        if band == "missing":
            continue
        low, high = BANDS[band]
        ages = shuffled([age for age in known if low <= age < high], rng)
        for i, age in enumerate(ages):
            person = waiting[i < counts["survived"]].pop()
            person.age, person.age_known = age, True
    adult = [age for age in known if age >= GENERATION]
    young = [age for age in known if age < BOYS_BELOW]
    for fate, left in waiting.items():
        own_boys = boys[0 if fate else 1] if boys else 0
        for i, person in enumerate(left):
            # Only boys are called Master, so the titles give the number of boys without an age;
            # other men of unknown age are adults. Women of unknown age are as old as the others.
            source = young if i < own_boys else known if person.sex == "female" else adult
            person.age, person.age_known = source[below(len(source), rng)], False


def _boys_of_unknown_age(figures: dict, cells: dict[Cell, dict]) -> tuple[int, int]:
    """Return how many Masters have no age (survived, died): all less the boys of known age."""
    left = dict(figures["titles"]["Master"])
    for (_, sex), record in cells.items():
        for band in ("0-4", "5-11"):
            for key, count in record["by_age_band"].get(band, {}).items():
                left[key] -= count if sex == "male" else 0
    return left["survived"], left["passengers"] - left["survived"]


def _known_ages(record: dict, rng: random.Random) -> list[float]:
    """Return sorted ages with the record's counts by band and its quantiles, both exact."""
    slots = []  # the band of each rank
    for band, (low, high) in BANDS.items():
        slots += [(low, high)] * record["by_age_band"].get(band, {"passengers": 0})["passengers"]
    anchors = _age_anchors(record["age_quantiles"], slots)
    ages = [0.0] * len(slots)
    for before, after in pairwise(sorted(anchors)):
        ages[before], ages[after] = anchors[before], anchors[after]
        inner = range(before + 1, after)
        drawn = [
            _age_between(max(slots[r][0], anchors[before]), slots[r][1], anchors[after], rng)
            for r in inner
        ]
        for rank, age in zip(inner, sorted(drawn), strict=True):
            ages[rank] = age
    return ages


def _age_grid(low: float, high: float, top: float) -> list[float]:
    """Return ages as the list writes them, from `low` to below `high` and at most `top`."""
    years = [float(a) for a in range(1, 81)]
    return [a for a in (*INFANTS, *years) if low <= a < high and a <= top]


def _age_between(low: float, high: float, top: float, rng: random.Random) -> float:
    grid = _age_grid(low, high, top)
    age = grid[below(len(grid), rng)]
    # An estimated age is written with a half; one in twenty is estimated.
    halved = age + 0.5
    return halved if age >= GENERATION and halved < min(high, top) and rng.random() < 0.05 else age


def _age_anchors(quantiles: dict[str, float], slots: list[tuple[int, int]]) -> dict[int, float]:
    """Return the ages at the ranks from which each quantile is interpolated, such that it is
    exact."""
    anchors: dict[int, float] = {}
    for q, value in quantiles.items():
        position = float(q) * (len(slots) - 1)
        rank = int(position + 1e-9)
        share = position - rank
        if share < 1e-9:
            anchors[rank] = value
            continue
        pairs = [
            (y - x, x, y)
            for x in _half_ages(*slots[rank])
            for y in _half_ages(*slots[rank + 1])
            if y >= x and abs(x + share * (y - x) - value) <= 0.0051  # figures have two decimals
        ]
        if not pairs:
            raise ValueError(
                f"age quantile {q} = {value} fits no ages of its band: correct the figures"
            )
        _, anchors[rank], anchors[rank + 1] = min(pairs)
    return anchors


def _half_ages(low: int, high: int) -> list[float]:
    halves = [age + 0.5 for age in range(max(low, 14), min(high, 80))]
    return _age_grid(low, high, 80) + halves


# --- exchanges: until the people make sense ------------------------------------------------------
# The figures do not have the ages of people who travel together: the weights below are our own.


def _strain_alone(person: Passenger) -> float:
    """Return how unlikely this age is in this role: minus a log probability, up to a constant."""
    age, role = person.age, person.role
    if role == "alone":
        return 7.0 if age < 12 else 2.5 if age < 15 else 0.0
    if role == "staff":
        return IMPOSSIBLE if age < 18 else 0.0
    if role == "spouse":
        return IMPOSSIBLE if age < 16 else 1.5 if age < 19 else 0.0
    if role == "sibling":
        return 4.0 if age < 12 else 0.0
    if role == "parent":
        return IMPOSSIBLE if age < GENERATION + 1 else 0.0
    grown = max(0.0, age - 14.0)
    if role == "child":
        return grown / 5 if person.sibsp < 3 else grown
    if person.parch > 2 or (person.sibsp and not person.parch):  # a relative: a parent, or a spouse
        return IMPOSSIBLE if age < 15 else 0.0
    return grown if person.sibsp >= 3 else grown / 15  # a relative who may be parent or child


def _strain(ticket: Ticket) -> float:
    people = ticket.people
    if len(people) == 1:
        return _strain_alone(people[0])
    strain = sum(map(_strain_alone, people)) + _strain_between(people)
    return strain + IMPOSSIBLE * (len({p.port for p in people}) - 1)


def _strain_between(people: list[Passenger]) -> float:
    """Return how unlikely the age differences of parents and children, siblings, couples are."""
    strain = 0.0
    parents = [p for p in people if p.role == "parent"]
    children = [p for p in people if p.role == "child"]
    for parent in parents:
        most = 44 if parent.sex == "female" else 60
        for child in children:
            gap = parent.age - child.age
            strain += IMPOSSIBLE if gap < GENERATION else max(0.0, gap - most)
    brood = children or [p for p in people if p.role == "sibling"]
    if len(brood) > 1:
        ages = sorted(p.age for p in brood)
        strain += max(0.0, ages[-1] - ages[0] - 16) / 2
        strain += 2.0 * sum(after - before < 0.9 for before, after in pairwise(ages))  # twins
    if wife := next((p for p in people if p.spouse and p.sex == "female"), None):
        strain += max(0.0, abs(wife.spouse.age - wife.age - 3) - 5) / 4
    return strain


class _Exchange:
    """Metropolis sampling over the exchanges that leave every count as it is."""

    def __init__(
        self, people: dict[Cell, list[Passenger]], tickets: list[Ticket], rng: random.Random
    ) -> None:
        self.cells = list(people.values())
        self.ends = [0]
        for cell in self.cells:
            self.ends.append(self.ends[-1] + len(cell))
        self.tickets, self.rng = tickets, rng
        self.ticket_of = {id(p): t for t in tickets for p in t.people}
        self.strains = {id(t): _strain(t) for t in tickets}

    def run(self, steps: int) -> None:
        """Try `steps` exchanges, half of them while cooling; repeat while a role is impossible."""
        for _ in range(MOST_RUNS):
            for step in range(steps):
                self._try(max(1.0, 8.0 - 14.0 * step / steps))
            if max(self.strains.values()) < IMPOSSIBLE:
                return
        raise ValueError("the figures leave people who cannot travel together: correct them")

    def _try(self, warmth: float) -> None:
        random_ = self.rng.random
        pick = int(random_() * self.ends[-1])
        cell = self.cells[bisect.bisect_right(self.ends, pick) - 1]
        one, other = cell[int(random_() * len(cell))], cell[int(random_() * len(cell))]
        kind = int(random_() * 3)
        if kind == 2:
            if one.family_size != other.family_size:
                return
        elif one.survived is not other.survived:
            return
        first, second = self.ticket_of[id(one)], self.ticket_of[id(other)]
        before = self.strains[id(first)] + self.strains[id(second)] * (first is not second)
        self._swap(kind, one, other)
        strain_first, strain_second = _strain(first), _strain(second)
        worse = strain_first + strain_second * (first is not second) - before
        if worse > 0 and random_() >= math.exp(-worse / warmth):
            self._swap(kind, one, other)
        else:
            self.strains[id(first)], self.strains[id(second)] = strain_first, strain_second

    @staticmethod
    def _swap(kind: int, one: Passenger, other: Passenger) -> None:
        if kind != 1:
            one.age, other.age = other.age, one.age
            one.age_known, other.age_known = other.age_known, one.age_known
        if kind != 0:
            one.port, other.port = other.port, one.port
        if kind == 2:
            one.survived, other.survived = other.survived, one.survived
