"""Batches as tensors of TensorFlow, and its datasets."""

from __future__ import annotations

import datetime
import decimal
import os
import warnings

import numpy as np
import pyarrow as pa
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with warnings.catch_warnings():
    # What TensorFlow warns of when it is loaded is not ours.
    warnings.simplefilter("ignore")
    import tensorflow as tf

import millstream as ms
from millstream.errors import ArgumentError, SchemaError


def only_batch(column, **options):
    (batch,) = ms.from_arrow(pa.table({"c": column})).iter_tf_batches(**options)
    return batch["c"]


def test_columns_of_numbers_become_tensors():
    batches = list(ms.range(10).iter_tf_batches(batch_size=4))
    found = [batch["id"].numpy().tolist() for batch in batches]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert batches[0]["id"].dtype == tf.int64


def test_texts_bytes_and_ragged_lists():
    assert only_batch(pa.array(["a", "ü"])).numpy().tolist() == [b"a", "ü".encode()]
    assert only_batch(pa.array([b"a"])).numpy().tolist() == [b"a"]
    ragged = only_batch(pa.array([[1, 2], [3]]))
    assert isinstance(ragged, tf.RaggedTensor)
    assert ragged.to_list() == [[1, 2], [3]]


def test_types_that_are_asked_for():
    assert only_batch(pa.array([1, 2]), dtypes=tf.float32).dtype == tf.float32
    assert only_batch(pa.array([1, 2]), dtypes={"c": tf.uint8}).dtype == tf.uint8
    with pytest.raises(SchemaError, match="'c' has the integer 300"):
        only_batch(pa.array([300]), dtypes=tf.uint8)


@pytest.mark.parametrize(
    ("column", "what"),
    [
        (pa.array(["a", None]), "str and nulls"),
        (pa.array([1, None]), "int and nulls"),
        (pa.array([decimal.Decimal("1.5")]), "Decimal"),
        (pa.array([datetime.date(2026, 1, 1)]), "times"),
        (pa.array([datetime.timedelta(1)]), "durations"),
        (pa.array([[1], None]), "nulls"),
        (pa.array([{"a": 1}]), "dict"),
    ],
)
def test_other_columns_are_an_error_that_names_the_column(column, what):
    with pytest.raises(SchemaError, match=f"column 'c' has .*{what}.* TensorFlow makes no tensor"):
        only_batch(column)


def rows(count):
    ds = ms.range(count)
    return ds.map(lambda row: {"x": row["id"] * 1.0, "y": row["id"] % 2, "w": 1.0, "s": "a"})


def test_a_dataset_of_features_and_labels():
    made = rows(5).to_tf("x", "y", batch_size=2)
    assert made.element_spec[0].shape.as_list() == [None]
    assert [each.dtype for each in made.element_spec] == [tf.float64, tf.int64]
    for _ in range(2):  # Again and again.
        found = [(x.numpy().tolist(), y.numpy().tolist()) for x, y in made]
        assert found == [([0, 1], [0, 1]), ([2, 3], [0, 1]), ([4], [0])]


def test_several_columns_are_a_dict():
    made = rows(3).to_tf(["x", "s"], "y", additional_columns="w", batch_size=3)
    ((features, label, weight),) = made
    assert features["x"].numpy().tolist() == [0, 1, 2]
    assert features["s"].numpy().tolist() == [b"a"] * 3
    assert label.numpy().tolist() == [0, 1, 0]
    assert weight.numpy().tolist() == [1, 1, 1]


def test_tensors_keep_their_shape_and_ragged_ones_are_ragged():
    images = ms.from_numpy(np.zeros((4, 3, 2), np.float32))
    made = images.to_tf("data", "data", batch_size=2)
    assert made.element_spec[0].shape.as_list() == [None, 3, 2]
    assert len(list(made)) == 2
    lists = ms.from_arrow(pa.table({"a": pa.array([[1, 2], [3], [4, 5], [6, 7]])}))
    found = [a.to_list() for a, _ in lists.to_tf("a", "a", batch_size=2)]
    assert found == [[[1, 2], [3]], [[4, 5], [6, 7]]]


def test_tensors_of_several_shapes_need_a_type():
    shapes = [(1, 2), (2, 3), (2, 2), (2, 2)]
    tensors = ms.from_items([{"a": np.zeros(shape)} for shape in shapes])
    spec = tf.RaggedTensorSpec((None, None, None), tf.float64)
    made = tensors.to_tf("a", "a", batch_size=2, feature_type_spec=spec, label_type_spec=spec)
    assert [[row.shape.as_list()[0] for row in a] for a, _ in made] == [[1, 2], [2, 2]]
    with pytest.raises(tf.errors.UnknownError, match="'a' has tensors of several shapes"):
        list(tensors.to_tf("a", "a", batch_size=2))


def test_a_type_can_be_given():
    spec = tf.TensorSpec((None,), tf.float32)
    made = rows(3).to_tf("x", "y", feature_type_spec=spec, batch_size=3)
    assert [x.dtype for x, _ in made] == [tf.float32]


def test_leaving_a_dataset_early_ends_its_run():
    made = rows(1000).to_tf("x", "y", batch_size=2)
    iterator = iter(made)
    next(iterator)
    del iterator
    assert len(list(made.take(3))) == 3


# Keras warns at the end of each dataset whose length is not known before.
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_a_model_learns_of_it():
    made = rows(64).map_batches(lambda b: {"x": b["x"][:, None], "y": b["y"]})
    model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    spec = tf.TensorSpec((None, 1), tf.float64)
    learned = made.to_tf("x", "y", batch_size=16, feature_type_spec=spec)
    fitted = model.fit(learned, epochs=2, shuffle=False, verbose=0)
    assert len(fitted.history["loss"]) == 2


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("nope", "y"), {}, ArgumentError, "feature_columns: there is no column 'nope'"),
        (("x", []), {}, ArgumentError, r"label_columns=\[\]"),
        (("x", "y"), {"batch_size": None}, ArgumentError, "batch_size=None"),
        (("x", "y"), {"label_type_spec": {}}, ArgumentError, "needs one tf.TypeSpec"),
    ],
)
def test_arguments_that_make_no_sense_are_errors_at_the_call(arguments, options, error, message):
    with pytest.raises(error, match=message):
        rows(3).to_tf(*arguments, **options)


def test_a_column_without_a_type_of_tensors_is_an_error():
    dates = ms.from_arrow(
        pa.table({"d": pa.array([datetime.date(2026, 1, 1)]), "y": pa.array([1])})
    )
    with pytest.raises(SchemaError, match="column 'd' is of type date32"):
        dates.to_tf("d", "y")


def test_a_part_whose_columns_are_not_known_asks_for_types():
    (part,) = rows(4).streaming_split(1)
    with pytest.raises(ArgumentError, match="pass feature_type_spec for 'x'"):
        part.to_tf("x", "y")
    spec = tf.TensorSpec((None,), tf.float64), tf.TensorSpec((None,), tf.int64)
    made = part.to_tf("x", "y", feature_type_spec=spec[0], label_type_spec=spec[1], batch_size=4)
    assert [y.numpy().tolist() for _, y in made] == [[0, 1, 0, 1]]
