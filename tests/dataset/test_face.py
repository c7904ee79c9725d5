"""The public face: cheap to import, documented, and its examples work."""

from __future__ import annotations

import doctest
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import millstream as ms
import millstream.compute
import millstream.context
import millstream.in_memory
import millstream.schema
from millstream.absent import _ABSENT, _KINDS, absent_text


def test_importing_and_running_locally_loads_no_heavy_library():
    code = (
        "import sys, millstream as ms\n"
        "heavy = {'ray', 'torch', 'pandas', 'rich', 'av', 'PIL'}\n"
        "assert not {'pyarrow', 'numpy', *heavy} & set(sys.modules)\n"
        "assert ms.range(1).map_batches(lambda b: b).take(1) == [{'id': 0}]\n"
        "import numpy as np\n"
        "made = {'s': 'a', 'b': b'b', 'f': 0.5, 't': True, 'n': None, 'x': np.zeros((2, 2))}\n"
        "assert len(ms.range(2).map(lambda row: {**row, **made}).take_all()) == 2\n"
        "tensors = ms.range(2).map(lambda row: {'x': made['x']})\n"
        "assert tensors.map_batches(lambda b: {**b}).count() == 2\n"
        "assert ms.sim.replay.__module__ == 'millstream.sim.whatif'\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    environment = {"MILLSTREAM_BACKEND": "local"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_all_public_names_exist_and_are_listed():
    assert set(ms.__all__) <= set(dir(ms))
    assert all(getattr(ms, name) is not None for name in ms.__all__)
    with pytest.raises(AttributeError, match="nope"):
        _ = ms.nope


def test_everything_public_is_documented():
    things = [(name, getattr(ms, name)) for name in ms.__all__]
    things += [
        (f"Dataset.{name}", member)
        for name, member in inspect.getmembers(ms.Dataset)
        if not name.startswith("_")
    ]
    assert [name for name, thing in things if not inspect.getdoc(thing)] == []


@pytest.mark.parametrize(
    "module", [ms, ms.compute, ms.context, ms.in_memory, ms.schema], ids=lambda m: m.__name__
)
def test_examples_of_modules_work(module):
    result = doctest.testmod(module, extraglobs={"ms": ms})
    assert result.failed == 0
    assert result.attempted > 0


def test_examples_of_operators_work():
    # Those that take options are functions of another module to doctest.
    attempted = 0
    for name, function in inspect.getmembers(ms.Dataset, inspect.isfunction):
        text = inspect.getdoc(function) or ""
        examples = doctest.DocTestParser().get_doctest(text, {"ms": ms}, name, None, 0)
        result = doctest.DocTestRunner().run(examples)
        assert result.failed == 0, name
        attempted += result.attempted
    assert attempted >= 7


def test_a_trace_of_the_run_is_written(tmp_path, context):
    context.trace = str(tmp_path / "trace.jsonl")
    ms.range(10).take_all()
    lines = (tmp_path / "trace.jsonl").read_text().splitlines()
    assert len(lines) > 1
    assert all(json.loads(line) for line in lines)


def test_blocks_are_cut_at_the_size_that_was_asked_for(context):
    context.target_max_block_size = 80_000
    kept = ms.range(100_000, override_num_blocks=1).materialize()
    assert kept.num_blocks() == 10


def test_the_modules_help_names_everything_public_first():
    assert set(ms.__all__) == set(re.findall(r"`(\w+)`", ms.__doc__)) & set(ms.__all__)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: ms.read_bigquery, "millstream has no attribute 'read_bigquery'.*flat_map"),
        (lambda: ms.from_spark, "from_arrow"),
        (lambda: ms.range(1).write_snowflake, "write_parquet"),
        (lambda: ms.range(1).mix, "iterate over several"),
    ],
)
def test_a_name_of_ray_data_that_is_not_there_says_what_to_use(ask, words):
    with pytest.raises(AttributeError, match=words):
        ask()


def test_each_name_of_ray_data_is_there_or_says_what_to_use():
    for owner, there, names in [
        ("millstream", ms, RAY_DATA_NAMES),
        ("Dataset", ms.Dataset, RAY_DATASET_NAMES),
    ]:
        for name in names:
            told = absent_text(owner, name)
            assert hasattr(there, name) != ("Ray Data has it" in told), (owner, name)


def test_hints_name_only_what_there_is():
    words = [*_KINDS.values(), *_ABSENT.values()]
    called = {name for text in words for name in re.findall(r"\b([a-z_]+)\(", text)}
    own = {name for name in called if hasattr(ms, name) or hasattr(ms.Dataset, name)}
    assert called - own <= {"get_current"}, called - own


def test_what_is_no_name_of_ray_data_gets_no_hint():
    with pytest.raises(AttributeError, match=r"^Dataset has no attribute 'nope'$"):
        _ = ms.range(1).nope


#: Ray Data 2.60's public names and methods that a script may use.
_NAMES = """
from_arrow from_arrow_refs from_blocks from_daft from_dask from_huggingface from_items from_mars
from_modin from_numpy from_numpy_refs from_pandas from_pandas_refs from_spark from_tf from_torch
range range_tensor read_audio read_avro read_binary_files read_clickhouse read_csv
read_datasource read_delta read_delta_sharing_tables read_hudi read_iceberg read_images
read_json read_kafka read_lance read_lerobot read_mcap read_mongo read_numpy read_orc
read_parquet read_snowflake read_sql read_text read_tfrecords read_unity_catalog read_videos
read_webdataset read_zarr
"""
RAY_DATA_NAMES = _NAMES.split()
_METHODS = """
add_column aggregate columns copy count drop_columns explain filter flat_map
get_internal_block_refs groupby input_files iter_batches iter_internal_ref_bundles
iter_jax_batches iter_rows iter_tf_batches iter_torch_batches iterator join limit map
map_batches materialize max mean min mix name num_blocks random_sample random_shuffle
randomize_block_order rename_columns repartition schema select_columns serialize_lineage
set_name show size_bytes sort split split_at_indices split_proportionately stats std
streaming_split streaming_train_test_split sum summary take take_all take_batch to_arrow_refs
to_daft to_dask to_mars to_modin to_numpy_refs to_pandas to_pandas_refs to_random_access_dataset
to_spark to_tf train_test_split union unique with_column with_columns write_bigquery
write_clickhouse write_csv write_datasink write_delta write_iceberg write_images write_json
write_kafka write_lance write_mongo write_numpy write_orc write_parquet write_snowflake
write_sql write_tfrecords write_turbopuffer write_webdataset zip
"""
RAY_DATASET_NAMES = _METHODS.split()


def test_no_public_name_is_that_of_a_module():
    modules = {path.stem for path in Path(ms.__file__).parent.iterdir()}
    assert modules & set(ms.__all__) == set()


def test_readers_stay_functions_whichever_is_used_first():
    lines = "import millstream as ms; ms.read_csv, ms.read_json; print(callable(ms.read_text))"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
