"""Make the texts of a simulated list: invented names, ticket numbers, cabins.

Part of make_titanic.py, which explains it. Surnames are made of syllables, so that no name is a
real passenger's; given names are common ones of the time.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import product


def _split(text: str) -> list[str]:
    return text.split()


_FIRST = _split(
    "Abel Bal Ber Bor Bran Cal Car Cor Dal Del Dor Dun Ed Fal Fen Gar Gel Gor Hal Har Hes Jar "
    "Kel Kor Lan Lor Mal Mar Mel Nar Nor Os Pel Per Ral Ros Sal Sel Tal Tor Ul Val Var Wel "
    "Wil Zan"
)
_MIDDLE = _split(
    "ab ack ad am an ar as av eck ed el em en er es ev ick id il im in ir is iv ock od ol om "
    "on or os ul"
)
_LAST = _split(
    "ay bury by dahl dane den ett ford gren ham hurst ing itz kin land ley low man mont more "
    "ner nes nik o osa over quist rade rell rup sen skog son stad sted ster strom ton vale "
    "vik ward wick wood worth"
)
_DOUBLED = re.compile(r"([a-km-z])\1")  # "Corolosa" reads, "Osavvik" does not; "ll" does
MEN = _split(
    "Albert Alexander Alfred Anders Antonio Arthur Carl Charles David Edgar Edward Ernest "
    "Francis Frank Frederick George Gustaf Harold Henry Herbert Hugh Ivan Jakob James Johan "
    "John Joseph Karl Lawrence Leonard Louis Martin Michael Nicholas Nils Olaf Oscar Patrick "
    "Paul Peter Philip Ralph Richard Robert Samuel Sidney Stanley Stefan Thomas Victor Walter "
    "William"
)
WOMEN = _split(
    "Ada Agnes Alice Amelia Anna Annie Beatrice Bertha Bridget Caroline Catherine Charlotte "
    "Clara Constance Dorothy Edith Eleanor Elin Elizabeth Ellen Emily Emma Ethel Eva Florence "
    "Frances Hanna Harriet Helen Ida Ingrid Jane Johanna Julia Kate Laura Lillian Lucy Mabel "
    "Margaret Maria Marie Martha Mary Maud Nora Olive Rosa Ruth Sarah Selma Sofia Susan "
    "Violet Winifred"
)
NICKNAMES = _split(
    "Allie Bertie Birdie Daisy Dolly Effie Hattie Kitty Lottie Maggie Minnie Nellie Polly Tillie"
)

DECKS = ("", "A", "B", "C", "D", "E", "F", "G", "T")
CABINS_ON_DECK = 120
MOST_CABINS = 3  # of one ticket

# The prefixes of ticket numbers in each class; how often each comes is our choice.
TICKET_PREFIXES = {
    1: ("", "", "", "", "", "", "PC ", "PC ", "PC ", "W.E.P. "),
    2: ("", "", "", "", "", "", "C.A. ", "SC/PARIS ", "S.O.C. ", "W./C. "),
    3: ("", "", "", "", "", "", "", "A/5 ", "STON/O 2. ", "SOTON/OQ "),
}
FREE_TICKET = "LINE"  # what the list writes for the line's own men in third class


@cache
def surnames() -> list[str]:
    """Return all invented surnames, without repetition, in a fixed order."""
    made = ("".join(parts) for parts in product(_FIRST, _MIDDLE, _LAST))
    return [name for name in dict.fromkeys(made) if not _DOUBLED.search(name)]


@cache
def given_names(sex: str) -> list[str]:
    """Return one or two given names of "male" or "female", of which about one in four is single."""
    names = MEN if sex == "male" else WOMEN
    single = names * (len(names) // 3)
    return single + [f"{a} {b}" for a, b in product(names, names) if a != b]


@cache
def cabins() -> list[str]:
    """Return texts by deck, number of cabins and first number: "C23", "C23 C25 C27", "T"."""
    texts = []
    for deck, count, number in product(DECKS, range(MOST_CABINS), range(1, CABINS_ON_DECK + 1)):
        # Cabins of one side of the ship have odd numbers, of the other even ones.
        several = " ".join(f"{deck}{number + 2 * i}" for i in range(count + 1))
        texts.append("" if not deck else deck if deck == "T" else several)
    return texts


def full_name(
    surname: str, title: str, given_name: str, husband: str, maiden: str, nickname: str
) -> str:
    """Return a name as the list writes it. `husband` is "" for all but wives; `nickname` may be
    ""."""
    if husband:
        return f"{surname}, {title}. {husband} ({given_name} {maiden})"
    if nickname:
        return f'{surname}, {title}. {given_name} "{nickname}"'
    return f"{surname}, {title}. {given_name}"
