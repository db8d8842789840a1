"""What the local detectors look for: how each kind is written, how grave it is, and what tells it apart.

All expressions run on the linear-time engine. A first group is the value itself, without the words that
give it away. The prefixes of keys are those that their issuers document.
"""

from __future__ import annotations

from collections.abc import Callable

from airlock.values import dataclass
from airlock.web.compat.firewall.nlp import checks

KEY_PREFIXES = (
    r"gh[pousr]_[A-Za-z0-9]{36,}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{22,}",
    r"gl(?:pat|oas|dt|rt|rtr|ptt|ft|soat|agent|imt|cbt)-[A-Za-z0-9_.-]{20,}",  # GitLab
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
    r"xapp-[0-9]-[A-Za-z0-9-]{10,}",
    r"AIza[A-Za-z0-9_-]{35}",  # Google
    r"GOCSPX-[A-Za-z0-9_-]{28}",
    r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,}",  # Stripe
    r"whsec_[A-Za-z0-9+/=]{24,}",
    r"sk-[A-Za-z0-9_-]{20,}",  # OpenAI, Anthropic and those who write keys as they do
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgE[A-Za-z0-9_-]{20,}",
    r"SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}",  # SendGrid
    r"SK[0-9a-f]{32}",  # Twilio
    r"hf_[A-Za-z0-9]{30,64}",  # Hugging Face
    r"do[opr]_v1_[a-f0-9]{64}",  # DigitalOcean
    r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",  # Shopify
    r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",  # Telegram
    r"(?:alk|agk|aaf)_[A-Za-z0-9_-]{20,}",  # Airlock's own
)
_ASSIGNED = r"""["']?[ \t]{0,3}(?:[:=]|=>)[ \t]{0,3}["']?"""
_GIVEAWAYS = (
    r"(?:\b|_)(?:api[ _-]?key|(?:client[ _-]?)?secret|(?:access|auth|refresh)[ _-]?token"
    r"|pass(?:word|wd|phrase)|pwd|private[ _-]?key)|\btoken"
)
_PERSON_NAMES = (
    r"(?:first|last|full|given|family|middle|maiden|sur|person|customer|patient|employee|holder)[ _-]?name"
)


def accepted(_: str, __: str) -> bool:
    """Its form is enough."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of thing. `weight` is how grave one is, `confidence` how sure the form is.

    `holds` looks at what was found and at the words before it. `looks` is at how many places at most: a text
    that has more is not known to be clean. `secret`: never sent to a model.
    """

    name: str
    source: str
    weight: float
    confidence: float
    holds: Callable[[str, str], bool] = accepted
    looks: int = 1_000
    secret: bool = True


KINDS: tuple[Kind, ...] = (
    Kind(
        name="private_key",
        source=r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s\\]*",
        weight=0.95,
        confidence=0.98,
    ),
    Kind(
        name="aws_access_key",
        source=r"\b((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})\b",
        weight=0.95,
        confidence=0.98,
    ),
    Kind(
        name="aws_secret_key",
        source=rf"(?i)\baws[a-z_. -]{{0,40}}{_ASSIGNED}([A-Za-z0-9/+]{{40}})(?:[^A-Za-z0-9/+=]|$)",
        weight=0.95,
        confidence=0.95,
    ),
    Kind(
        name="api_key",
        source=rf"\b({'|'.join(KEY_PREFIXES)})",
        weight=0.9,
        confidence=0.95,
    ),
    Kind(
        name="jwt",
        source=r"\b(eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*)",
        weight=0.9,
        confidence=0.95,
    ),
    Kind(
        name="bearer_token",
        source=r"(?i)\bbearer[ \t]{1,3}([A-Za-z0-9._~+/-]{20,}=*)",
        weight=0.85,
        confidence=0.9,
    ),
    Kind(
        name="url_password",
        source=r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s:/@]{1,100}:([^\s/@]{3,100})@",
        weight=0.85,
        confidence=0.9,
    ),
    Kind(
        name="password",
        source=rf"(?i)(?:{_GIVEAWAYS}){_ASSIGNED}([^\s\"',;]{{8,}})",
        weight=0.85,
        confidence=0.75,
        holds=checks.random_looking,
    ),
    Kind(
        name="credit_card",
        source=r"\b[0-9](?:[ .-]?[0-9]){11,39}\b",
        weight=0.9,
        confidence=0.97,
        holds=checks.has_card,
    ),
    Kind(
        name="ssn",
        source=r"\b([0-9]{3}[ -]?[0-9]{2}[ -]?[0-9]{4})\b",
        weight=0.9,
        confidence=0.85,
        holds=checks.is_ssn,
    ),
    Kind(
        name="iban",
        source=r"\b([A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?)\b",
        weight=0.85,
        confidence=0.97,
        holds=checks.is_iban,
    ),
    Kind(
        name="account_number",
        source=r"(?i)(?:\b|_)(?:account|acct|routing|sort[ _-]?code)[ _-]{0,2}(?:number|num|no\.?|nr\.?|#)?"
        r"[\"']?[ \t]{0,2}[:=#]?[ \t]{0,2}[\"']?([0-9][0-9 -]{4,24}[0-9])\b",
        weight=0.8,
        confidence=0.85,
    ),
    Kind(
        name="passport_number",
        source=r"(?i)(?:\b|_)passport[ _-]{0,2}(?:number|num|no\.?|nr\.?|#)?"
        r"[\"']?[ \t]{0,2}[:=#]?[ \t]{0,2}[\"']?([a-z]{0,2}[0-9]{6,9})\b",
        weight=0.8,
        confidence=0.85,
    ),
    Kind(
        name="date_of_birth",
        source=r"(?i)(?:\b|_)(?:dob|date[ _-]?of[ _-]?birth|birth[ _-]?da(?:te|y)|born(?: on)?)"
        r"[\"']?[ \t]{0,2}[:=]?[ \t]{0,2}[\"']?([0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4})\b",
        weight=0.6,
        confidence=0.85,
        secret=False,
    ),
    Kind(
        name="email_address",
        source=r"\b([A-Za-z0-9][A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})\b",
        weight=0.6,
        confidence=0.9,
        holds=checks.is_mail,
        secret=False,
    ),
    Kind(
        name="phone_number",
        source=r"(?:^|[^0-9A-Za-z+])(\+[0-9](?:[ ()./-]{0,3}[0-9]){6,16})",
        weight=0.6,
        confidence=0.9,
        holds=checks.is_phone_of_the_world,
        looks=100,
        secret=False,
    ),
    Kind(
        name="phone_number",
        source=r"(?:^|[^0-9A-Za-z])((?:1[ .-]?)?\(?[0-9]{3}\)?[ .-]{0,2}[0-9]{3}[ .-][0-9]{4})\b",
        weight=0.6,
        confidence=0.8,
        holds=checks.is_phone_of_north_america,
        looks=400,
        secret=False,
    ),
    Kind(
        name="phone_number",
        source=r"(?i)(?:phone|tel|call|mobile|cell|fax|sms|whatsapp)[a-z_]{0,8}[^0-9A-Za-z+]{1,4}"
        r"(\(?[0-9](?:[ ()./-]{0,3}[0-9]){6,14})\b",
        weight=0.6,
        confidence=0.8,
        holds=checks.is_phone_of_north_america,
        looks=400,
        secret=False,
    ),
    Kind(
        name="personal_name",
        source=rf"(?im)(?:\b|_){_PERSON_NAMES}{_ASSIGNED}([A-Za-z][^\s\d\"',;:=]{{1,60}})"
        r"|\b(?:Mr|Mrs|Ms|Dr|Prof)\.? [A-Z][a-z]{1,40}\b",
        weight=0.5,
        confidence=0.6,
        secret=False,
    ),
)
"""In the order of precedence: what one found, a later one does not find again."""
