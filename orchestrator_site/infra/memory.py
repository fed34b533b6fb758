"""What glibc does with memory that was freed. Elsewhere nothing is changed."""

import ctypes

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # malloc.h
LARGE_BLOCK = 131_072


def give_back_freed_memory() -> None:
    """Have large blocks go back to the system when they are freed, and few arenas kept for threads.

    glibc raises its threshold with the first large answer and keeps what it frees from then on, in
    an arena for each thread: a process that has read 10 pages of 4 MiB at once stays 130 MB larger.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(M_ARENA_MAX, 2)
