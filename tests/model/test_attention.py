"""Attention over packed segments."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ablate.core.random import generator
from ablate.model.attention import SHORT, KernelUnavailableError, attend, record_kernels
from ablate.model.segments import Segments

# short segments are padded, longer ones looped over
lengths = st.one_of(
    st.lists(st.integers(1, longest), min_size=1, max_size=6).map(tuple)
    for longest in (9, 2 * SHORT)
)


def draw_inputs(
    tokens: int, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    values = torch.randn(3, tokens, 2, 16, generator=generator(0, tokens))
    return [part.to(device, dtype).requires_grad_() for part in values]


def dense_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Computes attention with a dense bias over all pairs of tokens."""
    scores = torch.einsum("qhd,khd->hqk", query, key) / query.shape[-1] ** 0.5 + bias
    return torch.einsum("hqk,khd->qhd", scores.softmax(dim=-1), value)


@given(lengths)
def test_segments_agree_with_the_materialised_block_diagonal_mask(lengths):
    pytest.importorskip("xformers", reason="xformers has no wheel for this platform")
    segments = Segments(lengths)
    query, key, value = draw_inputs(segments.num_tokens)
    from xformers.ops.fmha.attn_bias import BlockDiagonalMask

    bias = BlockDiagonalMask.from_seqlens(list(lengths)).materialize(
        (segments.num_tokens, segments.num_tokens)
    )
    expected = dense_attention(query, key, value, bias)
    assert torch.allclose(attend(query, key, value, segments), expected, atol=1e-5)


@given(lengths)
def test_a_token_attends_to_its_own_segment_only(lengths):
    segments = Segments(lengths)
    query, key, value = draw_inputs(segments.num_tokens)
    with torch.no_grad():
        before = attend(query, key, value, segments)
        value[: lengths[0]] += 1
        after = attend(query, key, value, segments)
    assert torch.equal(before[lengths[0] :], after[lengths[0] :])
    assert not torch.allclose(before[: lengths[0]], after[: lengths[0]])


@pytest.mark.parametrize("lengths", [(), (3, 0, 2)])
def test_an_empty_segment_is_rejected(lengths):
    with pytest.raises(ValueError, match="every segment needs at least one token"):
        Segments(lengths)


def test_segments_that_do_not_add_up_to_the_tokens_are_rejected():
    with pytest.raises(ValueError, match="segments hold 5 tokens but got 6 queries"):
        attend(*draw_inputs(6), Segments((2, 3)))


@given(lengths)
def test_the_kernels_of_a_cpu_agree_forward_and_backward(lengths):
    segments = Segments(lengths)
    by_segment, padded = draw_inputs(segments.num_tokens), draw_inputs(segments.num_tokens)
    one = attend(*by_segment, segments, kernel="segments")
    other = attend(*padded, segments, kernel="padded")
    assert torch.allclose(one, other, atol=1e-5)
    one.square().sum().backward()
    other.square().sum().backward()
    for part, same in zip(by_segment, padded, strict=True):
        assert torch.allclose(part.grad, same.grad, atol=1e-4)


@pytest.mark.parametrize("kernel", ["xformers", "varlen"])
def test_an_unavailable_kernel_is_rejected_with_the_reason(kernel):
    pytest.importorskip("xformers", reason="xformers has no wheel for this platform")
    with pytest.raises(KernelUnavailableError, match=rf"`{kernel}` cannot serve: .*"):
        attend(*draw_inputs(4), Segments((2, 2)), kernel=kernel)


def test_the_kernels_that_serve_are_recorded():
    served = {}
    with record_kernels(served):
        attend(*draw_inputs(4), Segments((1, 3)))
        attend(*draw_inputs(4), Segments((2, 2), filler=torch.tensor([False] * 3 + [True])))
    attend(*draw_inputs(4), Segments((4,)), kernel="padded")
    assert list(served) == ["segments", "padded with a mask"]


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 4e-3)]
)
@pytest.mark.parametrize("lengths", [(1,), (5, 1, 70, 33), (64, 64), (199, 60, 131, 7)])
def test_xformers_and_segments_agree_forward_and_backward(lengths, dtype, atol):
    segments = Segments(lengths)
    on_cpu = draw_inputs(segments.num_tokens)
    on_gpu = draw_inputs(segments.num_tokens, "cuda", dtype)
    plain = attend(*on_cpu, segments, kernel="segments")
    fused = attend(*on_gpu, segments, kernel="xformers")
    assert torch.allclose(plain, fused.float().cpu(), atol=atol)
    plain.square().sum().backward()
    fused.square().sum().backward()
    for one, other in zip(on_cpu, on_gpu, strict=True):
        assert torch.allclose(one.grad, other.grad.float().cpu(), atol=8 * atol)


def attention_by_loop(
    query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], exclude_self: Tensor
) -> Tensor:
    """Loops over the tokens and the keys that each may attend to."""
    rows = []
    for start, length in zip([0, *torch.tensor(lengths).cumsum(0).tolist()], lengths, strict=False):
        for token in range(start, start + length):
            seen = [
                other
                for other in range(start, start + length)
                if other != token or not exclude_self[token] or length == 1
            ]
            scores = torch.stack([(query[token] * key[other]).sum(-1) for other in seen])
            shares = (scores / query.shape[-1] ** 0.5).softmax(dim=0)
            rows.append((shares.unsqueeze(-1) * value[seen]).sum(dim=0))
    return torch.stack(rows)


@given(lengths, st.integers(0, 3))
def test_a_token_that_excludes_itself_attends_to_the_others_only(lengths, seed):
    total = sum(lengths)
    exclude_self = torch.rand(total, generator=generator(seed)) < 0.3
    query, key, value = draw_inputs(total)
    expected = attention_by_loop(query, key, value, lengths, exclude_self)
    attended = attend(query, key, value, Segments(lengths, exclude_self=exclude_self))
    assert torch.allclose(attended, expected, atol=1e-5)


@given(lengths)
def test_marks_without_exclusions_leave_attention_bitwise_unchanged(lengths):
    parts = draw_inputs(sum(lengths))
    nothing = torch.zeros(sum(lengths), dtype=torch.bool)
    result = attend(*parts, Segments(lengths, exclude_self=nothing))
    assert torch.equal(result, attend(*parts, Segments(lengths)))


def test_a_padded_batch_supports_self_exclusion():
    filler = torch.tensor([False, False, False, False, True, True])
    exclude_self = torch.tensor([True, False, False, True, False, False])
    parts = draw_inputs(6)
    attended = attend(*parts, Segments((3, 3), filler=filler, exclude_self=exclude_self))
    expected = attention_by_loop(*(part[:4] for part in parts), (3, 1), exclude_self[:4])
    assert torch.allclose(attended[:4], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["filler", "exclude_self"])
def test_marks_that_do_not_fit_the_tokens_are_rejected(name):
    with pytest.raises(ValueError, match=f"`{name}` marks 3 tokens of 4"):
        Segments((2, 2), **{name: torch.zeros(3, dtype=torch.bool)})
