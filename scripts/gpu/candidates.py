"""The launches that are worth timing, kernel by kernel; `fused_triton.LAUNCHES` holds one of each for every card."""

from trl_entropy.functional.head.fused_triton import Cut


CANDIDATES = {
    "fold": [Cut(1024, 4), Cut(2048, 4), Cut(2048, 8), Cut(4096, 8)],
    "nucleus": [
        Cut(512, 4, 4), Cut(1024, 4, 4), Cut(1024, 8, 4), Cut(2048, 8, 4), Cut(512, 4, 8), Cut(1024, 4, 8),
        Cut(1024, 8, 8), Cut(2048, 16, 8), Cut(1024, 16, 16), Cut(512, 8, 16),
    ],
    "unfold": [Cut(512, 4), Cut(1024, 4), Cut(2048, 4), Cut(2048, 8)],
}  # fmt: skip
