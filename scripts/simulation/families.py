"""Form families, groups of friends and shared tickets from counts of (SibSp, Parch).

Part of make_titanic.py, which explains it. The list has 891 of all who were aboard, so a family
here may lack its father or a child; it never has more members than its SibSp and Parch allow.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import chain

PARTNER_PROBABILITY = 0.85  # that parents and child, or a possible couple, become a family
MOST_FRIENDS = 4  # on one ticket, without being a family
# The figures do not say who shares a ticket; these two are ours.
SHARE_WITH_RELATIVES = 0.75  # of those who share one; the others do so with friends
FRIENDS_BEYOND_PAIRS = 12  # passengers who make a group of friends larger than two


@dataclass(slots=True, eq=False)
class Passenger:
    """One passenger. `age` is the true age in years; `age_known` says whether the list has it."""

    pclass: int
    sex: str  # "female" or "male"
    sibsp: int
    parch: int
    role: str = "relative"  # or alone, staff, parent, child, spouse, sibling
    spouse: Passenger | None = field(default=None, repr=False)
    age: float = 0.0
    age_known: bool = True
    survived: bool = False
    port: str = ""
    title: str = ""

    @property
    def family_size(self) -> int:
        """Return the number of relatives aboard: SibSp + Parch."""
        return self.sibsp + self.parch


@dataclass(slots=True, eq=False)
class Ticket:
    """The passengers on one ticket: of one class and port, with one fare and the same cabins.

    They are one family, or friends who are each alone; `free` says that nothing was paid.
    """

    people: list[Passenger]
    free: bool = False
    fare: float = 0.0
    deck: str = ""  # "" where the cabin is not known


class _Pool:
    """The passengers of one class who have no family yet, by sex and (SibSp, Parch)."""

    def __init__(self, people: list[Passenger]) -> None:
        self.people = people

    def take(self, count: int = 1, **wanted: object) -> list[Passenger]:
        """Remove and return up to `count` passengers whose attributes equal `wanted`."""
        taken = [p for p in self.people if all(getattr(p, k) == v for k, v in wanted.items())]
        taken = taken[:count]
        self.people = [p for p in self.people if p not in taken]
        return taken


def shuffled(items: list, rng: random.Random) -> list:
    """Return `items` in random order by `rng.random()`, which is the same in every Python."""
    return [item for _, _, item in sorted((rng.random(), i, item) for i, item in enumerate(items))]


def below(n: int, rng: random.Random) -> int:
    """Return a random integer from 0 to n - 1."""
    return int(rng.random() * n)


def _join(parents: list[Passenger], children: list[Passenger]) -> list[Passenger]:
    for parent in parents:
        parent.role = "parent"
    for child in children:
        child.role = "child"
    if len(parents) == 2:
        parents[0].spouse, parents[1].spouse = parents[1], parents[0]
    return parents + children


def _large_families(pool: _Pool) -> list[list[Passenger]]:
    """Return families of three children or more, with the parents whose Parch is their number."""
    families = []
    codes = sorted({(p.sibsp, p.parch) for p in pool.people if p.sibsp >= 2 and p.parch in (1, 2)})
    for sibsp, parch in reversed(codes):
        children = pool.take(len(pool.people), sibsp=sibsp, parch=parch)
        count = -(-len(children) // (sibsp + 1))
        for first in range(count):
            parents = []
            for sex in ("female", "male"):
                if len(parents) < parch:
                    # A mother may have a brother or sister aboard beside her husband, so SibSp may
                    # be larger.
                    own = [p for p in pool.people if p.sex == sex and p.parch == sibsp + 1]
                    nearest = sorted(own, key=lambda p: abs(p.sibsp - (parch - 1)))[:1]
                    parents += nearest
                    pool.people = [p for p in pool.people if p not in nearest]
            families.append(_join(parents, children[first::count]))
    return families


def _small_families(pool: _Pool, rng: random.Random) -> list[list[Passenger]]:
    """Return parents with one or two children, by their (SibSp, Parch).

    Four of (1,2) are a family, a couple of (1,1) with a (0,2), and a pair of (0,1).
    """
    families = []
    while family := pool.take(sibsp=1, parch=2, sex="female"):
        family += pool.take(sibsp=1, parch=2, sex="male")
        families.append(_join(family, pool.take(2, sibsp=1, parch=2)))
    for child in pool.take(len(pool.people), sibsp=0, parch=2):
        if rng.random() < PARTNER_PROBABILITY:
            mother = pool.take(sibsp=1, parch=1, sex="female")
            father = pool.take(sibsp=1, parch=1, sex="male")
            families.append(_join(mother + father, [child]))
        else:
            families.append(_join([child], pool.take(2, sibsp=1, parch=1)))
    while couple := pool.take(sibsp=1, parch=1, sex="female"):
        families.append(_join(couple + pool.take(sibsp=1, parch=1, sex="male"), []))
    while pair := pool.take(2, sibsp=0, parch=1):
        families.append(_join(pair[:1], pair[1:]))
    return families


def _couples_and_siblings(pool: _Pool, rng: random.Random) -> list[list[Passenger]]:
    """Return families without parents or children: (1,0) couples, and siblings of one SibSp."""
    families = []
    women = pool.take(len(pool.people), sibsp=1, parch=0, sex="female")
    for wife in women:
        if rng.random() < PARTNER_PROBABILITY and (
            husband := pool.take(sibsp=1, parch=0, sex="male")
        ):
            wife.role = husband[0].role = "spouse"
            wife.spouse, husband[0].spouse = husband[0], wife
            families.append([wife, *husband])
        else:
            pool.people.append(wife)
    for sibsp in sorted({p.sibsp for p in pool.people if p.sibsp and not p.parch}):
        while siblings := pool.take(sibsp + 1, sibsp=sibsp, parch=0):
            for one in siblings:
                one.role = "sibling"
            families.append(siblings)
    return families


def families_of_class(people: list[Passenger], rng: random.Random) -> list[list[Passenger]]:
    """Return the passengers of one class by family, and set their `role` and `spouse`.

    Most families are of one passenger.
    """
    pool = _Pool(shuffled(people, rng))
    alone = pool.take(len(people), sibsp=0, parch=0)
    for person in alone:
        person.role = "alone"
    families = _large_families(pool) + _small_families(pool, rng) + _couples_and_siblings(pool, rng)
    for family in families:
        if len(family) == 1:
            family[0].role = "relative"
    return families + [[person] for person in chain(pool.people, alone)]


def tickets_of(
    families: list[list[Passenger]],
    free: dict[int, int],
    shared: tuple[int, int],
    rng: random.Random,
) -> list[Ticket]:
    """Give each family a ticket, then put friends on one until both numbers of `shared` are exact.

    `free` is the number of free passages of each class; `shared` is how many tickets have several
    passengers, and how many passengers those are. In third class the free passages are one ticket
    (the list's "LINE"); in the others each is a ticket of its own.
    Raises ValueError where the two numbers cannot be reached.
    """
    tickets = [Ticket(family) for family in shuffled(families, rng)]
    _set_free(tickets, free)
    wanted, people = shared
    _separate_pairs(tickets, round(people * SHARE_WITH_RELATIVES))
    _separate_thirds(tickets, people - 2 * wanted - FRIENDS_BEYOND_PAIRS, rng)
    together = [len(t.people) for t in tickets if len(t.people) > 1]
    groups, extra = wanted - len(together), people - sum(together) - 2 * (wanted - len(together))
    if groups < 0 or not 0 <= extra <= groups * (MOST_FRIENDS - 2):
        raise ValueError(
            f"cannot put {people} passengers on {wanted} shared tickets: families already put "
            f"{sum(together)} on {len(together)}; correct the figures for tickets"
        )
    sizes = [2] * groups
    while extra:
        group = below(groups, rng)
        if sizes[group] < MOST_FRIENDS:
            sizes[group] += 1
            extra -= 1
    for size in sizes:
        _befriend(tickets, size, rng)
    return tickets


def _set_free(tickets: list[Ticket], free: dict[int, int]) -> None:
    for pclass, count in free.items():
        singles = [
            t
            for t in tickets
            if t.people[0].pclass == pclass
            and t.people[0].role == "alone"
            and t.people[0].sex == "male"
        ][:count]
        for ticket in singles:
            ticket.free = True
            ticket.people[0].role = "staff"
        if pclass == 3:
            for ticket in singles[1:]:
                singles[0].people += ticket.people
                tickets.remove(ticket)


def _leave(ticket: Ticket, person: Passenger) -> Ticket:
    """Take `person` off a ticket, as if the relatives were not in this list."""
    ticket.people.remove(person)
    if person.spouse:
        person.spouse.spouse = person.spouse = None
    for one in (person, *(ticket.people if len(ticket.people) == 1 else ())):
        one.role = "relative"
    return Ticket([person])


def _separate_pairs(tickets: list[Ticket], at_most: int) -> None:
    """Take couples and pairs of siblings apart until `at_most` share a ticket with a relative."""
    sharing = sum(len(t.people) for t in tickets if len(t.people) > 1)
    for ticket in list(tickets):
        if sharing <= at_most:
            return
        if len(ticket.people) == 2 and all(p.role in ("spouse", "sibling") for p in ticket.people):
            tickets.append(_leave(ticket, ticket.people[1]))
            sharing -= 2


def _separate_thirds(tickets: list[Ticket], at_most: int, rng: random.Random) -> None:
    """Take one of three or four apart until the shared tickets hold `at_most` beyond two each."""
    beyond = sum(len(t.people) - 2 for t in tickets if len(t.people) > 1)
    for ticket in list(tickets):
        if beyond <= at_most:
            return
        if len(ticket.people) in (3, 4) and ticket.people[0].role == "parent":
            tickets.append(_leave(ticket, ticket.people[below(len(ticket.people), rng)]))
            beyond -= 1


def _befriend(tickets: list[Ticket], size: int, rng: random.Random) -> None:
    """Put `size` passengers of one class who travel alone on one ticket."""
    alone = [t for t in tickets if len(t.people) == 1 and t.people[0].role == "alone"]
    first = alone[below(len(alone), rng)]
    same = [t for t in alone if t is not first and t.people[0].pclass == first.people[0].pclass]
    for other in shuffled(same, rng)[: size - 1]:
        first.people += other.people
        tickets.remove(other)
