"""The tables of the shell splitter: what names mean, and which of them cannot be understood."""

from __future__ import annotations

import re


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


SYSTEM_DIRS = frozenset(
    {"/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin"}
)
"""A program written with one of these directories counts as its bare name; any other path is `bash/_path`."""

EXE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""What a program's name may look like. Anything else, look-alike letters too, is not understood."""

RESERVED = words(
    """
    if then else elif fi do done case esac while until for select function { } ! [[ ]] in foreach end
    repeat nocorrect noglob -
    """
)
"""Words that begin shell syntax, in bash or zsh: as a command's name they mean that the parser erred."""

HARMLESS_VARIABLES = words(
    """
    LANG LANGUAGE TZ TERM NO_COLOR FORCE_COLOR CLICOLOR CLICOLOR_FORCE CI COLUMNS LINES NODE_ENV
    PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE PYTHONIOENCODING RUST_BACKTRACE RUST_LOG
    GIT_TERMINAL_PROMPT DEBIAN_FRONTEND
    """
)
"""Environment variables that change how a program prints, not what it runs; `LC_*` belongs to them."""

PAGERS = frozenset({"PAGER", "GIT_PAGER", "MANPAGER"})
"""Harmless only when they are set to `cat` or to nothing: a pager is a command."""

LOOP_VARIABLES = words(
    """
    i j k n x y f file line item name dir d
    """
)
"""Names that no shell and no program treats specially: a loop or `read` may set them."""

PLAIN_VALUE = re.compile(r"[\w.+,@-][\w.+,@/-]*|", re.ASCII)

BUILTINS_IN_DOUBT = words(
    """
    eval source . alias unalias trap coproc enable hash bind complete compgen compopt shopt mapfile
    readarray fc history let declare typeset local readonly unset getopts export popd dirs autoload
    zmodload zle zstyle integer float private print chdir bindkey emulate setopt unsetopt vared zcompile
    sched functions disable function select
    """
)
"""Builtins that run text, or change what later words mean."""

LAUNCHERS = words(
    """
    ssh su chroot unshare nsenter runuser pkexec systemd-run at batch crontab screen tmux script flock
    strace ltrace gdb lldb watch parallel start-stop-daemon setpriv prlimit cpulimit taskset chrt fakeroot
    firejail bwrap torsocks proxychains proxychains4 dbus-run-session xvfb-run entr perf valgrind rlwrap
    expect chronic unbuffer faketime setarch linux32 linux64 run-parts osascript fish csh tcsh slogin sg
    newgrp capsh runcon chpst cgexec daemonize dumb-init tini gosu su-exec ssh-agent logsave ifne pee
    mispipe socat xterm hyperfine caffeinate arch sandbox-exec dbus-launch choom numactl i386 x86_64
    uname26 ld.so run0 machinectl systemd-nspawn eatmydata setlock softlimit dtach abduco sshpass torify
    tsocks multitime pexec openvt aa-exec grc ksu proot fakechroot msgfilter
    """
)
"""Programs that run another one in a way that is not taken apart here: own name and `bash/_complex`."""

CONTAINERS = {
    "docker": frozenset({"run", "exec", "create"}),
    "podman": frozenset({"run", "exec", "create"}),
    "nerdctl": frozenset({"run", "exec", "create"}),
    "kubectl": frozenset({"exec", "run", "debug"}),
}

GIT_HATCHES = ("--upload-pack", "--receive-pack", "--exec", "--open-files-in-pager", "--extcmd")
GIT_COMMANDS_IN_DOUBT = words(
    """
    filter-branch difftool mergetool send-email daemon instaweb remote-ext remote-fd for-each-repo web--browse
    gui citool p4 svn cvsserver cvsimport cvsexportcommit archimport http-backend hook maintenance shell
    merge-index submodule--helper bisect--helper
    """
)
GIT_RUNS_NOTHING = words("add rm mv stage restore checkout ls-files check-ignore")
"""Subcommands without an option that runs or writes what it names."""

GIT_SETTINGS = frozenset({"user.name", "user.email"})
"""What `git config` may set without a doubt; most other settings name a command in some way."""

AWK = frozenset({"awk", "gawk", "mawk", "nawk"})

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "rbash"})
"""Shells whose `-c` text is split in its turn."""

SAYERS = frozenset({"echo", "true", "false", "printf"})
"""They only print: an argument that is known only at run time opens no door."""

READERS = words(
    """
    ls cat wc head tail grep egrep fgrep file stat du md5sum sha256sum diff basename dirname echo
    """
)
"""They have no subcommands: a glob as an argument opens no door by itself."""

OPTIONS_RUN_NOTHING = READERS | words(
    """
    rm cp mv ln touch chmod mkdir rmdir cut uniq nl tac rev cksum sha1sum sha512sum readlink realpath
    """
)
"""None of their options starts a program: a glob that becomes an option of theirs opens no door."""

OTHER_HOMES = frozenset({"sudo", "doas", "env"})
"""What they run may have another home directory, or none."""

NOT_FILES = frozenset({"/dev/null", "/dev/stdout", "/dev/stderr", "/dev/stdin"})
"""Redirections to these reach no file."""


def is_harmless(name: str, value: str | None) -> bool:
    """True when setting this variable cannot change what later commands do; value None: not known."""
    if name in LOOP_VARIABLES:
        return True
    if value is None:
        return False
    if name in PAGERS:
        return value in {"", "cat"}
    known = name in HARMLESS_VARIABLES or name.startswith("LC_")
    return known and PLAIN_VALUE.fullmatch(value) is not None
