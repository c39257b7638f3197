"""An environment file with everything in it, and what systemd makes of it."""

from __future__ import annotations

SAMPLE = r"""# a comment
; another one

PLAIN=1
  BLANKS  =   two  words  ··
QUOTES_INSIDE=it's "so" #and no comment
SINGLE='as $it \n is; "all" of
it'
DOUBLE="escaped \" \\ \$ \` and not \n, one \
line, and
two"
CONTINUED=one \
    line
ESCAPED=\"\ a\tb\\c \·
EMPTY=
EMPTY_QUOTES=""
PIECES='a'"b" 'c'
EXPANDED=$PLAIN ${PLAIN} %h
TWICE=1
TWICE=2
UNICODE=ä✓
LAST=x""".replace("·", " ")  # at the end of a line

VALUES = {
    "PLAIN": "1",
    "BLANKS": "two  words",
    "QUOTES_INSIDE": 'it\'s "so" #and no comment',
    "SINGLE": 'as $it \\n is; "all" of\nit',
    "DOUBLE": 'escaped " \\ $ ` and not \\n, one line, and\ntwo',
    "CONTINUED": "one     line",
    "ESCAPED": '" atb\\c  ',
    "EMPTY": "",
    "EMPTY_QUOTES": "",
    "PIECES": "abc",
    "EXPANDED": "$PLAIN ${PLAIN} %h",
    "TWICE": "2",
    "UNICODE": "ä✓",
    "LAST": "x",
}
