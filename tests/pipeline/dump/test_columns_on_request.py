"""Files leave out the columns that nobody asked for; views show them all the same."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gradtrace.exporters.store.settings import Settings
from gradtrace.pipeline.dump.dump import dump
from gradtrace.pipeline.dump.models import OpenedModel
from gradtrace.pipeline.dump.samples import Samples
from gradtrace.queries import open_store
from gradtrace.queries.manifest import read_manifest
from gradtrace.queries.schema import columns_on_request

SUMS = {"contribution_l1", "split_entropy"}
STATISTICS = {"log2_paths", "log2_products", "log2_positive", "log2_negative", "path_entropy"}


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (Settings("study"), set[str]()),
        (Settings("study", statistics=True), {"value", *SUMS, *STATISTICS}),
        (Settings("parameters"), {"value"}),
        (Settings("parameters", methods=("greedy", "product")), {"value", "score"}),
        (Settings("all", methods=("soft",)), {"value", "score", *SUMS}),
        (Settings("parameters", statistics=True), {"value", *SUMS, *STATISTICS}),
    ],
    ids=["study", "study, statistics", "parameters", "product", "soft", "parameters, statistics"],
)
def test_files_have_what_was_asked_for(
    rnn: OpenedModel, sentences: Samples, tmp_path: Path, settings: Settings, wanted: set[str]
) -> None:
    dump(rnn.traced, sentences, tmp_path, settings)
    with open_store(tmp_path) as store:
        for table in ("vertices", "best_edges"):
            optional = columns_on_request(table)
            for file in read_manifest(tmp_path).files(table):
                assert optional & set(pq.read_schema(tmp_path / file).names) == optional & wanted
            counted = ", ".join(f"count({name}) as {name}" for name in sorted(optional))
            (row,) = store.sql(f"select {counted} from stored.{table}").to_arrow_table().to_pylist()
            assert {name for name, known in row.items() if known} == optional & wanted
        assert all(check.ok for check in store.verify())
