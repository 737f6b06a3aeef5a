"""The order of samples: datasets in their shares, every process its part, nothing seen twice or left out."""

from __future__ import annotations

from trainer.order import BatchOrder, Mix


def positions(mix: Mix, count: int) -> list[tuple[int, int]]:
    return [mix.place(position) for position in range(count)]


def test_shares_hold_at_every_point_and_no_sample_is_skipped() -> None:
    mix = Mix.of([10, 20, 5], [0.6, 0.3, 0.1])
    placed = positions(mix, 1000)
    for dataset, share in enumerate((0.6, 0.3, 0.1)):
        taken = [before for number, before in placed if number == dataset]
        assert taken == list(range(len(taken)))
        for length in (10, 100, 333, 1000):
            assert abs(sum(number == dataset for number, _ in placed[:length]) - share * length) <= 2


def test_without_weights_datasets_count_by_their_samples() -> None:
    placed = positions(Mix.of([30, 10]), 40)
    assert sum(number == 0 for number, _ in placed) == 30
    assert positions(Mix.of([7]), 5) == [(0, at) for at in range(5)]


def test_a_dataset_is_visited_in_whole_epochs() -> None:
    order = BatchOrder(Mix.of([4, 3], [1, 3]), 4, 9, first_step=0, last_step=12)
    seen = [at for batch in order for at in batch]
    assert len(seen) == 48
    second = [at for at in seen if at[1] >= 4]
    for epoch in range(len(second) // 3):
        assert sorted(place for number, place in second if number == epoch) == [4, 5, 6]


def test_processes_and_accumulation_split_the_same_order() -> None:
    mix = Mix.of([11, 5], [0.8, 0.2])
    whole = list(BatchOrder(mix, 4, 1, first_step=2, last_step=9))
    parts = [
        list(BatchOrder(mix, 2, 1, first_step=2, last_step=9, process=rank, processes=2)) for rank in (0, 1)
    ]
    assert [first + second for first, second in zip(*parts, strict=True)] == whole
    accumulated = list(BatchOrder(mix, 2, 1, first_step=2, last_step=9, batches_per_step=2))
    assert [accumulated[at] + accumulated[at + 1] for at in range(0, 14, 2)] == whole


def test_a_resumed_order_is_the_rest_of_the_order() -> None:
    mix = Mix.of([7, 6], [0.3, 0.7])
    whole = list(BatchOrder(mix, 3, 5, first_step=0, last_step=20, batches_per_step=2))
    rest = list(BatchOrder(mix, 3, 5, first_step=11, last_step=20, batches_per_step=2))
    assert rest == whole[22:]
