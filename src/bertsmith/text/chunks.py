"""What BERT's tokeniser and Python's ``str.split`` each take for a chunk of text between white space."""

import re

DELETED_BREAKS = "\x0b\x0c\x1c\x1d\x1e\x1f\x85"
"""Where ``str.split`` breaks but BERT's clean-up deletes the character, joining its neighbours.  There are no others."""

UNSPACED = re.compile("[\u2e80-\uabff\uf900-\ufaff\U00020000-\U0003ffff]")
"""A character of scripts, from the CJK radicals on, that do not part words by white space: such chunks hardly recur."""
