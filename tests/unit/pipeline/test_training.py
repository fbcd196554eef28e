"""Training: the same terms, weights and predictions as scikit-learn in memory, for any cut into files and batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import BernoulliNB

from pipeline.amazon_reviews.training import tables
from pipeline.amazon_reviews.training.errors import ModelError, TrainingDataError, UnseenTextError
from pipeline.amazon_reviews.training.metrics import evaluate
from pipeline.amazon_reviews.training.model import FILE_NAME, Model
from pipeline.amazon_reviews.training.predictor import Predictor
from pipeline.amazon_reviews.training.tables import Batch, Lemmas, Processed
from pipeline.amazon_reviews.training.train import Options, Trained, train
from pipeline.amazon_reviews.training.vocabulary import Vocabulary, choose
from pipeline.errors import InputFileError

WORDS = ["good", "bad", "book", "film", "awful", "great", "a", "", "déjà", "x1", "up-to-date", "Ünder_score"]
LEANING = {1: ["bad", "awful"], 2: ["good", "great"]}


def reviews(rows: int, seed: int = 0) -> pl.DataFrame:
    """Made-up processed reviews with odd lemmas, null rows and one without words."""
    chance = np.random.default_rng(seed)
    polarity = chance.integers(1, 3, rows)
    polarity[:2] = 1, 2
    texts: list[list[str] | None] = []
    for side in polarity:
        words = [str(word) for word in chance.choice(WORDS, chance.integers(0, 12))]
        texts.append([*words, *(LEANING[int(side)] if chance.random() < 0.7 else [])])
    texts[3:5] = [None, [""]]
    return pl.DataFrame({"Polarity": polarity, "corpus": texts}, schema_overrides={"corpus": pl.List(pl.String)})


def stored(frame: pl.DataFrame, folder: Path, files: int = 1, name: str = "training set") -> Processed:
    """Store a frame as that many files."""
    paths = []
    for number, part in enumerate(frame.iter_slices(-(-max(len(frame), 1) // files))):
        paths.append(folder / f"{name}_{number}.parquet")
        part.write_parquet(paths[-1])
    if not paths:
        paths.append(folder / f"{name}.parquet")
        frame.write_parquet(paths[0])
    return Processed(name, paths)


def joined(frame: pl.DataFrame) -> list[str]:
    return frame["corpus"].list.join(" ").fill_null("").to_list()


def polarities(frame: pl.DataFrame) -> np.ndarray:
    return frame["Polarity"].to_numpy()


def batch(texts: list[list[str] | None]) -> Batch:
    lists = pl.Series(texts, dtype=pl.List(pl.String)).to_arrow(compat_level=pl.CompatLevel.oldest())
    return Batch(np.ones(len(texts), np.int64), Lemmas.of_lists(lists))


@pytest.fixture
def fitted(tmp_path):
    def fitted(**options) -> Trained:
        train_set = stored(reviews(300), tmp_path)
        return train(train_set, stored(reviews(80, seed=1), tmp_path, name="test set"), Options(**options), tmp_path)

    return fitted


# Terms

lemma = st.text(alphabet="abé1-_ Σ'", max_size=4)
corpus = st.lists(st.none() | st.lists(lemma, max_size=6), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(texts=corpus, ngram_max=st.integers(1, 3))
def test_every_term_and_count_is_that_of_scikit_learn(texts, ngram_max):
    documents = [" ".join(text or []) for text in texts]
    vectorizer = CountVectorizer(ngram_range=(1, ngram_max))
    try:
        expected = vectorizer.fit_transform(documents).toarray()
        terms = vectorizer.get_feature_names_out().tolist()
    except ValueError:  # what it says of an empty vocabulary
        terms = []
    assert choose(lambda: [batch(texts)], max_features=10_000, ngram_max=ngram_max) == terms
    if terms:
        found = Vocabulary.of_terms(terms).counts(batch(texts).lemmas, len(terms))
        assert found.toarray().tolist() == expected.tolist()


@settings(deadline=None, max_examples=60)
@given(texts=corpus, ngram_max=st.integers(1, 3), max_features=st.integers(1, 6))
def test_ties_at_the_cut_off_go_by_the_alphabet(texts, ngram_max, max_features):
    """Counting longer terms of common words only leaves none out."""
    documents = [" ".join(text or []) for text in texts]
    vectorizer = CountVectorizer(ngram_range=(1, ngram_max))
    try:
        counts = np.asarray(vectorizer.fit_transform(documents).sum(axis=0)).ravel()
    except ValueError:
        return
    ranked = sorted(zip(-counts, vectorizer.get_feature_names_out(), strict=True))
    expected = sorted(term for _, term in ranked[:max_features])
    assert choose(lambda: [batch(texts)], max_features=max_features, ngram_max=ngram_max) == expected


def test_without_a_tie_the_choice_is_that_of_scikit_learn():
    texts = [["common"] * 5 + ["often"] * 4 + ["some"] * 3 + ["few"] * 2 + ["once"]]
    vectorizer = TfidfVectorizer(max_features=3, analyzer="word").fit([" ".join(texts[0])])
    assert choose(lambda: [batch(texts)], max_features=3) == vectorizer.get_feature_names_out().tolist()


def test_more_words_than_numbers_can_tell_apart_are_refused():
    words = [f"w{number}" for number in range(1000)]
    with pytest.raises(TrainingDataError, match="1,000 words are too many for terms of 7"):
        Vocabulary.of_terms([*words, " ".join(words[:7])])


# Models


@pytest.mark.parametrize(
    ("options", "reference", "tolerance"),
    [
        ({}, BernoulliNB(), 1e-12),
        ({"alpha": 0.1, "ngram_max": 2, "max_features": 20}, BernoulliNB(alpha=0.1), 1e-12),
        ({"kind": "linear"}, LogisticRegression(), 1e-5),
        ({"kind": "linear", "alpha": 4.0}, LogisticRegression(C=0.25), 1e-5),
    ],
)
def test_models_are_those_of_scikit_learn(fitted, options, reference, tolerance):
    found = fitted(**options)
    learn, test = reviews(300), reviews(80, seed=1)
    vectorizer = TfidfVectorizer(vocabulary=found.model.terms, ngram_range=(1, options.get("ngram_max", 1)))
    reference.fit(vectorizer.fit_transform(joined(learn)), polarities(learn))
    features = vectorizer.transform(joined(test))
    written = pl.read_parquet(found.test_features)
    assert found.model.idf == pytest.approx(vectorizer.idf_)
    assert written["probability"].to_numpy() == pytest.approx(reference.predict_proba(features)[:, 1], abs=tolerance)
    said = reference.predict(features)
    assert found.evaluation.confusion.tolist() == metrics.confusion_matrix(polarities(test), said).tolist()


@pytest.mark.parametrize("kind", ["bernoulli-nb", "linear"])
@pytest.mark.parametrize(("files", "rows"), [(1, 7), (3, 50), (4, 10_000)])
def test_the_cut_into_files_and_batches_changes_nothing(tmp_path, monkeypatch, fitted, kind, files, rows):
    whole = fitted(kind=kind)
    monkeypatch.setattr(tables, "BATCH_ROWS", rows)
    folder = tmp_path / "cut"
    folder.mkdir()
    test_set = stored(reviews(80, seed=1), folder, files, name="test set")
    found = train(stored(reviews(300), folder, files), test_set, Options(kind=kind), folder)
    assert found.model.terms == whole.model.terms
    assert found.evaluation.confusion.tolist() == whole.evaluation.confusion.tolist()
    assert found.model.weights.tolist() == whole.model.weights.tolist()
    assert found.model.intercepts.tolist() == whole.model.intercepts.tolist()


def test_features_are_read_as_they_were_written(fitted):
    found = fitted()
    expected = CountVectorizer(vocabulary=found.model.terms).fit_transform(joined(reviews(300)))
    written = pl.read_parquet(found.train_features)
    assert written["Polarity"].to_list() == polarities(reviews(300)).tolist()
    for row, terms, counts in zip(expected, written["terms"], written["counts"], strict=True):
        assert dict(zip(terms, counts, strict=True)) == dict(zip(row.indices, row.data, strict=True))


def test_the_numbers_of_an_evaluation():
    """Scikit-learn's; that the right ones stand at the right names is what these counts show."""
    truth, predicted = np.repeat([0, 0, 1, 1], [50, 10, 20, 120]), np.repeat([0, 1, 0, 1], [50, 10, 20, 120])
    found = evaluate(truth, predicted, np.where(predicted, 0.75, 0.25))
    assert found.confusion.tolist() == [[50, 10], [20, 120]]
    assert found.scalars == pytest.approx(
        {
            "accuracy": 170 / 200,
            "f1": 240 / 270,
            "auc": (50 * 120 + (10 * 120 + 50 * 20) / 2) / (60 * 140),
            "precision": 120 / 130,
            "recall": 120 / 140,
            "log loss": -(170 * np.log(0.75) + 30 * np.log(0.25)) / 200,
        }
    )
    header, negative, positive, macro, weighted = found.report_table()
    assert header == ["class", "precision", "recall", "f1-score", "reviews"]
    assert negative == ["negative", "0.7143", "0.8333", "0.7692", "60"]
    assert positive == ["positive", "0.9231", "0.8571", "0.8889", "140"]
    assert [macro[0], macro[-1], weighted[0], weighted[-1]] == ["macro avg", "200", "weighted avg", "200"]


@pytest.mark.filterwarnings("error")
def test_a_class_that_is_never_predicted_has_zeros_and_no_warning():
    found = evaluate(np.array([0, 1, 1]), np.ones(3, int), np.array([0.6, 0.6, 0.7]))
    assert found.report["negative"] == {"precision": 0, "recall": 0, "f1-score": 0, "support": 1}


def test_the_curve_of_many_probabilities_has_a_plots_number_of_points():
    chance = np.random.default_rng(3)
    truth = chance.integers(0, 2, 20_000)
    false_rate, true_rate = evaluate(truth, truth, truth * 0.3 + chance.random(20_000) * 0.7).curve
    assert (false_rate[0], true_rate[0], false_rate[-1], true_rate[-1]) == (0, 0, 1, 1)
    assert 300 < len(false_rate) == len(true_rate) <= 400


# The file


def test_the_file_has_the_same_bytes_for_the_same_model(tmp_path, fitted):
    names = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    fitted().model.save(names[0])
    fitted().model.save(names[1])
    Model.load(names[0]).save(names[2])
    assert names[0].read_bytes() == names[1].read_bytes() == names[2].read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: "not json", "cannot be read as a model"),
        (lambda text: '{"format": "another"}', "is not a model of this package"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 2'), "is of format version 2"),
        (lambda text: text.replace('"terms": [', '"terms": ["one more", '), "do not fit together"),
        (lambda text: text.replace('"idf": [', '"idf": [NaN, '), "do not fit together"),
        (lambda text: text.replace('"idf"', '"fdi"'), "is damaged: KeyError"),
        (lambda text: text.replace("bernoulli-nb", "oracle"), "do not fit together"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(tmp_path, fitted, damage, message):
    file = tmp_path / FILE_NAME
    fitted().model.save(file)
    file.write_text(damage(file.read_text()))
    with pytest.raises(ModelError, match=message):
        Model.load(file)


def test_a_predictor_takes_texts_as_people_write_them(tmp_path, fitted):
    file = tmp_path / FILE_NAME
    fitted().model.save(file)
    predictor = Predictor.load(file)
    bad, good = predictor.predict(["AWFUL!! A bad, bad book.", "A great film; good books"])
    assert (bad.polarity, bad.label, good.polarity, good.label) == (1, "negative", 2, "positive")
    assert bad.probability > 0.5 < good.probability
    assert (bad.known_terms, good.known_terms) == (3, 4)


def test_only_training_imports_scikit_learn(tmp_path, fitted):
    """A second that neither the other steps nor a serving process is to wait for."""
    file = tmp_path / FILE_NAME
    fitted(kind="linear").model.save(file)
    code = (
        "import sys, pathlib, pipeline.amazon_reviews.model.registry, pipeline.amazon_reviews.fit_run;"
        "import pipeline.amazon_reviews.reviews.processing;"
        "from pipeline.amazon_reviews.training import predictor as it;"
        "print(it.Predictor.load(pathlib.Path(sys.argv[1])).predict(['bad book'])[0].label, 'sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, timeout=150)
    assert done.stdout.split() == ["negative", "False"], done.stderr


def test_a_text_without_a_known_word_is_an_error_unless_that_is_wanted(tmp_path, fitted):
    predictor = Predictor(fitted().model)
    texts = ["good book", "zzz qqq"]
    with pytest.raises(UnseenTextError, match="text 2 of 2 has no word that the model knows: 'zzz qqq'"):
        predictor.predict(texts)
    assert [item.known_terms for item in predictor.predict(texts, allow_unseen=True)] == [2, 0]
    assert predictor.predict([]) == []


# What is refused

FIT = pl.DataFrame({"Polarity": [1, 2], "corpus": [["bad"], ["good"]]})


@pytest.mark.parametrize(
    ("learn", "test", "message"),
    [
        (FIT.clear(), FIT, "the training set is empty"),
        (FIT, FIT.clear(), "the test set is empty"),
        (FIT.head(1), FIT, r"the training set has no positive \(2\) review among its 1"),
        (FIT.tail(1), FIT, r"the training set has no negative \(1\) review"),
        (FIT, FIT.head(1), r"the test set has no positive \(2\) review"),
        (FIT.with_columns(Polarity=pl.Series([1, 3])), FIT, "the training set has a review of polarity 3"),
        (FIT.with_columns(Polarity=pl.Series([1, None])), FIT, "has a review of polarity None"),
        (FIT.with_columns(corpus=pl.Series([[""], ["a"]])), FIT, "has no terms: nothing is left of the texts of its 2"),
        (FIT, FIT.with_columns(corpus=pl.Series([["qq"], None])), "not one word of the test set was seen in training"),
        (FIT.drop("corpus"), FIT, "has no fit column corpus, only Polarity"),
        (FIT.with_columns(corpus=pl.lit("text")), FIT, "has no fit column corpus"),
        (FIT.drop("Polarity"), FIT, "has no fit column Polarity"),
    ],
)
def test_data_that_nothing_can_be_learnt_from(tmp_path, learn, test, message):
    with pytest.raises(TrainingDataError, match=message):
        train(stored(learn, tmp_path), stored(test, tmp_path, name="test set"), Options(), tmp_path)


def test_a_damaged_file_is_one_clear_error(tmp_path):
    found = stored(reviews(300), tmp_path)
    data = found.paths[0].read_bytes()
    found.paths[0].write_bytes(data[: len(data) // 2])
    with pytest.raises(InputFileError, match="cannot be read as parquet"):
        train(found, found, Options(), tmp_path)
