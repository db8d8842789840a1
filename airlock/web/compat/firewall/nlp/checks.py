"""What a number must fulfil beside its form: check digits, known ranges, words before it."""

from __future__ import annotations

import re

_GROUPS = re.compile(r"[0-9]+")
_PLACEHOLDERS = ("$", "<", "{", "*", "…")
_CARDS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|22(?:2[1-9]|[3-9])|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"30[0-5]|3[689]"), (14, 16)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),
    (re.compile(r"6011|64[4-9]|65|62"), (16, 17, 18, 19)),
)
"""The first digits of the issuers (ISO/IEC 7812) and how long their numbers are."""
_SHORTEST_GROUP = 3
_SHORTEST_PHONE = 7


def has_card(text: str, _: str) -> bool:
    """True when some groups of digits in a row are the number of a card: what stands beside it hides none."""
    groups = _GROUPS.findall(text)
    for first in range(len(groups)):
        digits = ""
        for group in groups[first:]:
            if len(group) < _SHORTEST_GROUP or len(digits) + len(group) > 19:
                break
            digits += group
            if len(digits) >= 13 and _is_card(digits):
                return True
    return False


def _is_card(digits: str) -> bool:
    known = any(len(digits) in lengths and begin.match(digits) for begin, lengths in _CARDS)
    return known and luhn(digits)


def luhn(digits: str) -> bool:
    """True when the last digit is the check digit of the others (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_ssn(text: str, before: str) -> bool:
    """True for a number that may be given out; without its dashes only where the words say what it is."""
    digits = "".join(_GROUPS.findall(text))
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    given_out = area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"
    named = "ssn" in before.lower() or "social" in before.lower()
    return given_out and (named or text != digits)


def is_iban(text: str, _: str) -> bool:
    """True when the number, or what of it stands before a blank, has the right check digits (ISO 13616)."""
    pieces = text.upper().split(" ")
    return any(_is_iban("".join(pieces[:count])) for count in range(len(pieces), 0, -1))


def _is_iban(text: str) -> bool:
    if not 15 <= len(text) <= 34:
        return False
    return int("".join(str(int(one, 36)) for one in text[4:] + text[:4])) % 97 == 1


def is_mail(text: str, _: str) -> bool:
    """True unless it is how git names a repository."""
    return not text.startswith("git@")


def is_phone_of_the_world(text: str, _: str) -> bool:
    """True when the number, or some groups of digits it begins with, exists in its country's plan."""
    ends = [one.end() for one in _GROUPS.finditer(text)]
    return any(_exists(text[:end], None) for end in ends if end > _SHORTEST_PHONE)


def is_phone_of_north_america(text: str, _: str) -> bool:
    """True when the number exists in the North American plan, without a `+1` before it."""
    return _exists(text, "US")


def _exists(text: str, region: str | None) -> bool:
    """By libphonenumber's tables; loaded when the first number is looked at."""
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, region))
    except phonenumbers.NumberParseException:
        return False


def random_looking(text: str, _: str) -> bool:
    """True for what has letters and digits and is no placeholder."""
    mixed = any(one.isdigit() for one in text) and any(one.isalpha() for one in text)
    return mixed and not text.startswith(_PLACEHOLDERS)
