"""How a tame program comes to run another one: by its options, its little language, by what it computes.

A program that is made to run others (`python3`, `npx`) is its own name's business. Here are those that people
allow because they only look, copy or print.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from airlock.hooks import shell_names as names
from airlock.hooks.shell_words import Word, WordKind
from airlock.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Hatch:
    """The options of one program that run something.

    `letters` are found in bundles too (`-ave`), unless one of `takes` stands before them, whose rest is a
    value. `long` names may be shortened, as getopt allows. `begins` are beginnings of any argument.
    `undashed`: the first argument may hold letters without a dash (`tar xfI`); their values
    all stand behind it.
    """

    letters: str = ""
    takes: str = ""
    long: tuple[str, ...] = ()
    begins: tuple[str, ...] = ()
    undashed: bool = False

    def opens(self, texts: Sequence[str]) -> bool:
        """True when one of these arguments may run a command."""
        if self.undashed and texts and not texts[0].startswith("-") and set(texts[0]) & set(self.letters):
            return True
        return any(self._argument(text) for text in texts)

    def _argument(self, text: str) -> bool:
        if text.startswith(self.begins) if self.begins else False:
            return True
        if text.startswith("--"):
            return shortened(text, self.long)
        return text.startswith("-") and self._bundle(text[1:])

    def _bundle(self, letters: str) -> bool:
        for letter in letters:
            if letter in self.letters:
                return True
            if letter in self.takes:
                return False
        return False


def shortened(text: str, long: Sequence[str]) -> bool:
    """True when `text` is one of these long options, whole or shortened, with a value or without."""
    name = text.partition("=")[0]
    return len(name) > 2 and any(option.startswith(name) for option in long)


HATCHES: dict[str, Hatch] = {
    "tar": Hatch(
        letters="IF",
        takes="fCTXbgNKVLH",
        long=(
            "--to-command", "--checkpoint-action", "--use-compress-program", "--rsh-command", "--rmt-command",
            "--info-script", "--new-volume-script",
        ),
        undashed=True,
    ),
    "bsdtar": Hatch(long=("--use-compress-program",)),
    "rsync": Hatch(letters="e", takes="fBTM@", long=("--rsh", "--rsync-path", "--daemon")),
    "rg": Hatch(long=("--pre", "--hostname-bin")),
    "fd": Hatch(letters="xX", takes="eEtSdcCjo", long=("--exec", "--exec-batch")),
    "sort": Hatch(long=("--compress-program",)),
    "split": Hatch(long=("--filter",)),
    "sdiff": Hatch(long=("--diff-program",)),
    "diff3": Hatch(long=("--diff-program",)),
    "install": Hatch(long=("--strip-program",)),
    "cpio": Hatch(long=("--rsh-command", "--rmt-command")),
    "zip": Hatch(long=("--unzip-command",)),
    "wget": Hatch(letters="e", takes="oaiBtTwQPUlADIXRO", long=("--use-askpass", "--execute", "--config")),
    "scp": Hatch(letters="SoFJD", takes="cilPX"),
    "sftp": Hatch(letters="SoFJDb", takes="cilPBR"),
    "man": Hatch(letters="PHC", takes="RLmMSserEpT", long=("--pager", "--html", "--config-file")),
    "less": Hatch(begins=("+",), letters="k", long=("--lesskey-file", "--lesskey-src", "--lesskey-content")),
    "more": Hatch(begins=("+",)),
    "ag": Hatch(long=("--pager",)),
    "ack": Hatch(long=("--pager", "--ackrc")),
    "bat": Hatch(long=("--pager",)),
    "nc": Hatch(letters="ec", takes="iopqswXxITVPmMOGgk"),
    "ncat": Hatch(letters="ec", takes="iopqswxmgGd", long=("--exec", "--sh-exec", "--lua-exec")),
    "go": Hatch(begins=("-exec", "--exec", "-toolexec", "--toolexec", "-vettool", "--vettool")),
    "cargo": Hatch(begins=("--config",)),
    "kubectl": Hatch(begins=("--kubeconfig",)),
    "tcpdump": Hatch(letters="z", takes="BcCEFGijmMQrsTVwWy"),
    "pidstat": Hatch(letters="e", takes="CGpTU"),
    "ssh-keygen": Hatch(letters="Dw", takes="abCEFfImNnOPRrSstVZz"),
    "ssh-add": Hatch(letters="sS", takes="EHht"),
    **dict.fromkeys(("nm", "ar", "ranlib", "objdump"), Hatch(long=("--plugin",))),
    "psql": Hatch(letters="foL", takes="cdhpPUFRTv", long=("--file", "--output", "--log-file")),
    **dict.fromkeys(
        ("mysql", "mariadb"),
        Hatch(
            long=(
                "--pager", "--tee", "--init-command", "--defaults-file", "--defaults-extra-file",
                "--plugin-dir",
            )
        ),
    ),
    "openssl": Hatch(begins=("-engine", "-provider-path", "-config")),
}  # fmt: skip
HATCHES |= {
    "fdfind": HATCHES["fd"],
    "batcat": HATCHES["bat"],
    "netcat": HATCHES["nc"],
    "gtar": HATCHES["tar"],
}

EDITORS = names.words("vi vim nvim view vimdiff rvim rview gvim ex ed red emacs nano pico micro joe kak hx")
"""They run commands that their input or their options tell them."""


def doubt(name: str, arguments: Sequence[Word]) -> str:
    """Why these arguments of a program may run something, or ""."""
    texts = [word.text for word in arguments]
    if name in EDITORS:
        return f"`{name}` runs commands that it reads"
    hatch = HATCHES.get(name)
    if hatch is not None and hatch.opens(texts):
        return f"`{name}` runs a command that its options name"
    if (check := _CHECKS.get(name)) and check(arguments):
        return f"a program or an operand for `{name}` that can run or write something"
    return ""


# zsh computes where bash only reads a number, and runs `$( )` in a subscript: `exit 'path[$(rm x)]'`.

_NUMBER = re.compile(r"[-+]?[0-9]+")


def is_number(word: Word) -> bool:
    """True for a word that no shell computes anything else from."""
    return word.kind is WordKind.NUMBER or (word.literal and _NUMBER.fullmatch(word.text) is not None)


def _computes(arguments: Sequence[Word]) -> bool:
    return not all(map(is_number, arguments))


_CONVERSION = re.compile(r"%%|%[-+ #0]*[0-9]*(?:\.[0-9]+)?([A-Za-z])")


def _printf(arguments: Sequence[Word]) -> bool:
    """A conversion of numbers computes its argument in zsh; so does a `*` for a width."""
    words = list(arguments[1:] if arguments and arguments[0].text == "--" else arguments)
    if not words or not words[0].literal:
        return False  # a format that is not known is a doubt of its own
    said = [found[1] for found in _CONVERSION.finditer(words[0].text) if found[1]]
    if "%" in _CONVERSION.sub("", words[0].text):
        return _computes(words[1:])
    pairs = ((said[place % len(said)], word) for place, word in enumerate(words[1:])) if said else ()
    return any(letter not in "sbqc" and not is_number(word) for letter, word in pairs)


def _test(arguments: Sequence[Word]) -> bool:
    texts = [word.text for word in arguments]
    pairs = zip(texts, arguments[1:], strict=False)
    return any(text == "-t" and not is_number(operand) for text, operand in pairs)


_REGEX = r"/(?:[^/\\\n]|\\[^\n])*/[IM]*"
_ADDRESS = rf"(?:[0-9]+(?:~[0-9]+)?|\$|{_REGEX})"
_BETWEEN = r"(?:(?!(?P=sign))[^\\\n]|\\[^\n])*"
_SED_LINE = re.compile(
    rf"""[ \t;\n{{}}]*
    (?:{_ADDRESS}(?:[ ]*,[ ]*[+~]?{_ADDRESS})?)?[ ]*!?[ ]*
    (?: \#[^\n]*
      | (?:[dDgGhHnNpPxzF=lqQ][ ]*[0-9]*|[btT:][ ]*[A-Za-z0-9_]*|[{{}}])[ \t]*(?=[;\n}}]|\Z)
      | [sy](?P<sign>[/|,\#:!@%+_~])(?:{_BETWEEN}(?P=sign)){{2}}[gpIiM0-9]*[ \t]*(?=[;\n}}]|\Z)
      | [aic][ ]*\\?[^\n\\]*(?=\n|\Z)
      | (?=\Z)
    )""",
    re.VERBOSE,
)
"""One command of a sed script that writes to no file and runs nothing."""

_SED_FLAGS = re.compile(r"-[nrEsuz]*")
_SED_IN_PLACE = re.compile(r"--in-place(?:=[^/]*)?")  # a `/` in the ending moves the old file elsewhere
_SED_LONG = names.words(
    """
    --quiet --silent --regexp-extended --null-data --separate --unbuffered --posix --debug
    --sandbox --follow-symlinks --zero-terminated
    """
)


def _sed(arguments: Sequence[Word]) -> bool:
    """True unless every script of this command is seen and plain."""
    scripts: list[str] = []
    operands: list[str] = []
    texts = [word.text for word in arguments]
    place = 0
    while place < len(texts):
        text = texts[place]
        place += 1
        bundle = re.fullmatch(r"-[nrEsuz]*(?:e(.*)|i[^/]*)", text, re.DOTALL)
        if text == "--":
            operands += texts[place:]
            break
        if text.startswith("--expression="):
            scripts.append(text.partition("=")[2])
        elif bundle and bundle[1] is not None:
            scripts.append(bundle[1] or (texts[place] if place < len(texts) else ""))
            place += not bundle[1]
        elif text.startswith("-") and not (
            bundle
            or _SED_FLAGS.fullmatch(text)
            or _SED_IN_PLACE.fullmatch(text)
            or text.partition("=")[0] in _SED_LONG
        ):
            return True
        elif not text.startswith("-"):
            operands.append(text)
    if not scripts and operands:
        # BSD's `-i` takes an ending: there `''` or `.bak` is none of ours, and the script is the next one.
        ending = "-i" in texts and (not operands[0] or operands[0].startswith("."))
        scripts = operands[1:2] if ending else operands[:1]
    return not all(map(_plain_sed, scripts))


def _plain_sed(script: str) -> bool:
    place = 0
    while place < len(script):
        found = _SED_LINE.match(script, place)
        if found is None or found.end() == place:
            return False
        place = found.end()
    return True


_AWK_HATCH = re.compile(r'system|getline|\||>\s*"|@')
_AWK_WRITES = re.compile(r">(?!=|\s*[0-9.]+\s*(?:[){};,]|&&|\Z))")
"""What may be a file behind `print`; a comparison with a number is none."""

_AWK_OPTION = re.compile(r"-|--|-[Fv].*|--(?:field-separator|assign)=.*|--(?:posix|csv|version)", re.DOTALL)


def _awk(arguments: Sequence[Word]) -> bool:
    """True where it may run or write something, or reads more of its program (`-f`, `-bf`, `-W exec`)."""
    texts = [word.text for word in arguments]
    odd = any(text.startswith("-") and not _AWK_OPTION.fullmatch(text) for text in texts)
    return odd or any(_AWK_HATCH.search(text) or _awk_writes(text) for text in texts)


def _awk_writes(text: str) -> bool:
    return "print" in text and _AWK_WRITES.search(text) is not None


def _make(arguments: Sequence[Word]) -> bool:
    """`SHELL=…` names a program; a `$` or `!=` in an assignment runs when make reads it."""
    texts = [word.text for word in arguments]
    return any(
        text in {"-", "-f-", "/dev/stdin"}
        or text.startswith(("-E", "--e", ".SHELL", "SHELL", "MAKEFLAGS"))
        or "$" in text
        or "!=" in text
        for text in texts
    )


_SQL_HATCH = re.compile(
    r"(?:^|\n)[ \t]*[.\\]|load_extension|readfile|writefile|edit\s*\(|fts3_tokenizer", re.IGNORECASE
)
_SQLITE_OPTIONS = names.words("-json -csv -header -noheader -readonly -line -column -list -batch -bail -safe")


def _sqlite(arguments: Sequence[Word]) -> bool:
    texts = [word.text for word in arguments]
    operands = [text for text in texts if not text.startswith("-")]
    odd = any(text.startswith("-") and text not in _SQLITE_OPTIONS for text in texts)
    return odd or len(operands) < 2 or any(map(_sqlite_writes, operands[1:]))


def _sqlite_writes(text: str) -> bool:
    low = text.lower()
    return ("vacuum" in low and "into" in low) or _SQL_HATCH.search(text) is not None


_SQL_RUNS = re.compile(
    r"\\|\bsystem\b|\bprogram\b|(?:^|[;\n])[ \t]*(?:source|pager|tee|edit)\b", re.IGNORECASE
)


def _sql(arguments: Sequence[Word]) -> bool:
    """`\\!`, `system`, `source` and `pager` of the other clients, and COPY … PROGRAM."""
    return any(_SQL_RUNS.search(word.text) for word in arguments) or not any(
        word.text.startswith(("-c", "-e", "--command", "--execute", "--version", "-l", "-V"))
        for word in arguments
    )


def _dc(arguments: Sequence[Word]) -> bool:
    """`!` runs the rest of its line; a file or its input may hold one."""
    texts = [word.text for word in arguments]
    seen = len(texts) == 2 and texts[0] in {"-e", "--expression"}
    return not (seen and "!" not in texts[1]) and texts not in (["--version"], ["--help"])


def _zip(arguments: Sequence[Word]) -> bool:
    return any(re.match(r"-[A-Za-z0-9]*TT", word.text) for word in arguments)


_CHECKS: dict[str, Callable[[Sequence[Word]], bool]] = {
    **dict.fromkeys(("exit", "return", "break", "continue", "shift", "logout", "bye"), _computes),
    "printf": _printf,
    "test": _test,
    **dict.fromkeys(("sed", "gsed"), _sed),
    **dict.fromkeys(names.AWK, _awk),
    **dict.fromkeys(("make", "gmake"), _make),
    "sqlite3": _sqlite,
    **dict.fromkeys(("psql", "mysql", "mariadb"), _sql),
    "zip": _zip,
    "dc": _dc,
}
