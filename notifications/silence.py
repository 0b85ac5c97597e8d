"""When a provider that takes everything delivers nothing: receipts far below what is normal for the channel (R11)."""

from datetime import timedelta

# reliability.md, R11: below 80 % of normal within ten minutes.
SHARE_MIN = 0.8
WINDOW = timedelta(minutes=10)
# Most receipts come within seconds; what was handed over later may still be under way.
PATIENCE = timedelta(minutes=3)
# Fewer say nothing: one phone that is off would be a hole.
MESSAGES_MIN = 10
# What is taken for normal until a week of one's own says better; so the first night is watched, too.
NORMAL = 0.95
NORMAL_OVER = timedelta(days=7)
NORMAL_MESSAGES_MIN = 100


def normal(handed_over: int, heard_of: int) -> float:
    """Return the share of messages that a receipt usually comes for, from the last week's counts."""
    return heard_of / handed_over if handed_over >= NORMAL_MESSAGES_MIN else NORMAL


def is_hole(handed_over: int, heard_of: int, usual: float) -> bool:
    """Whether of the messages in the window too few were heard of. A channel that never gives receipts is never one."""
    return handed_over >= MESSAGES_MIN and heard_of / handed_over < SHARE_MIN * usual


def has_closed(handed_over: int, heard_of: int, usual: float) -> bool:
    """Whether receipts come again; without fresh messages nobody knows."""
    return handed_over >= MESSAGES_MIN and not is_hole(handed_over, heard_of, usual)
