import logging

import pytest
import torch

from hands_lib.nn import precision
from hands_lib.nn.precision import fast_in_bfloat16, in_precision, used_precision


@pytest.fixture
def processor(monkeypatch):
    """`processor(avx512_bf16=True)`: this machine's, as PyTorch describes it."""

    def describe(**has: bool) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
        fast_in_bfloat16.cache_clear()
        used_precision.cache_clear()

    yield describe
    fast_in_bfloat16.cache_clear()
    used_precision.cache_clear()


def test_bfloat16_is_used_where_the_processor_has_instructions_for_it(processor, caplog):
    for has, used in (
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True, "avx2": True}, "bfloat16"),
        ({"avx2": True, "avx512_f": True}, "float32"),
        ({}, "float32"),
    ):
        processor(**has)
        assert used_precision("bfloat16", "cpu") == used
        assert used_precision("float32", "cpu") == "float32"


def test_the_choice_is_said_once(processor, caplog):
    processor(avx2=True)
    with caplog.at_level(logging.WARNING, precision.__name__):
        for _ in range(3):
            assert used_precision("bfloat16", "cpu") == "float32"
    assert [record.message for record in caplog.records] == [
        "this cpu is slow in bfloat16: float32 is used, and the numbers are others"
    ]


@pytest.mark.parametrize(("has", "dtype"), [({"avx512_bf16": True}, torch.bfloat16), ({}, torch.float32)])
def test_training_computes_in_what_is_fast(processor, has, dtype):
    processor(**has)
    with in_precision("bfloat16", "cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
